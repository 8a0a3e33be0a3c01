"""Measures workloads, each alternating with its limit program in the same run, and checks every result.

    run.py W1 W3 W5 W7 W8 micro [--json FILE] [--rounds N] [--long]
"""

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release" / "bin"
DATA = ROOT / "build" / "bench-data"

# name: bytes asked for, bytes written, how its SHA-256 starts, lines, words, different words
TEXTS = {
    "text10": (10_000_000, 10_000_035, "db20ec51d5e51d1a", 139_787, 1_397_870, 88_207),
    "text100": (100_000_000, 100_000_036, "663dfee1a5162fe4", 1_398_036, 13_980_360, 100_000),
    "text500": (500_000_000, 500_000_005, "0f99b9f047e766dd", 6_989_762, 69_897_620, 100_000),
}
W1_VARIANTS = ("view", "string", "string-vector", "struct-key", "filter+mapValues")
W4M_KEYS = (1_000_000, 5_000_000, 20_000_000)
W5_INTERVALS_MS = (500, 200, 100, 50, 20, 10, 5, 2, 1)


class WrongResult(Exception):
    pass


def text(name):
    """The path of a text, generated once; its bytes are checked each time."""
    size, exact, sha, *_ = TEXTS[name]
    path = DATA / f"{name}.txt"
    if not path.exists() or path.stat().st_size != exact:
        DATA.mkdir(parents=True, exist_ok=True)
        note(f"generating {path.name}")
        fresh = path.with_suffix(".new")
        subprocess.run([BUILD / "gen_text", "text", str(size), fresh], check=True, stderr=subprocess.DEVNULL)
        fresh.rename(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(sha):
        raise WrongResult(f"{path} is damaged: its SHA-256 should start with {sha}; delete it to have it written again")
    return path


def note(message):
    print(f"== {message}", file=sys.stderr, flush=True)


def program(*command):
    """Runs a program and returns its lines as {first word: [[other words], ...]}."""
    command = [str(part) for part in command]
    command[0] = str(BUILD / command[0])
    DATA.mkdir(parents=True, exist_ok=True)
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=DATA)
    if run.returncode != 0:
        raise WrongResult(f"{' '.join(command)} ended with {run.returncode}")
    lines = {}
    for line in run.stdout.splitlines():
        word, *rest = line.split()
        lines.setdefault(word, []).append(rest)
    return lines


def samples(lines, expected, what):
    """(wall, cpu) of each repetition, all of which must have given the expected result."""
    result = []
    for wall, cpu, value in lines["SAMPLE"]:
        if int(value) != expected:
            raise WrongResult(f"{what}: expected {expected}, found {value}")
        result.append((float(wall), float(cpu)))
    return result


def alternate(rounds, what, ours, limit, expected):
    """A B A B ...: the samples of both sides, and the most memory of ours in MB."""
    mine, best, peak = [], [], 0.0
    for _ in range(rounds):
        lines = program(*ours)
        mine += samples(lines, expected, what)
        peak = max([peak] + [int(kb) / 1024 for (kb,) in lines.get("PEAK_KB", [])])
        if limit:
            best += [wall for wall, _ in samples(program(*limit), expected, f"limit of {what}")]
    return mine, best, peak


def figure(name, variant, unit, ours, limit, higher_is_better, low, high, n, cpu, peak):
    ratio = None
    if limit:
        ratio = ours / limit if higher_is_better else limit / ours
    return {
        "id": name, "variant": variant, "unit": unit, "ours": ours, "limit": limit, "ratio": ratio, "n": n,
        "min": low, "max": high, "cpu_s": cpu, "peak_rss_mb": peak,
    }


def timed(name, variant, mine, best, peak, amount=None, unit="s", scale=1.0):
    """A figure of seconds, or of `amount` (in the unit) a second."""
    walls = sorted(wall for wall, _ in mine)
    cpu = statistics.median(cpu for _, cpu in mine)
    ours, limit = statistics.median(walls), statistics.median(best) if best else None
    value = (lambda s: amount / s) if amount else (lambda s: s * scale)
    low, high = sorted((value(walls[0]), value(walls[-1])))
    return figure(name, variant, unit, value(ours), value(limit) if limit else None, bool(amount), low, high, len(walls), cpu,
                  round(peak, 1))


def w1(options):
    for name, warm_up, batches, limit_reps in (("text10", 15, 20, 10), ("text100", 5, 10, 5)):
        _, size, _, lines, words, distinct = TEXTS[name]
        path = text(name)
        for variant in W1_VARIANTS:
            # The plain name is that of the large text.
            label = variant if name == "text100" else f"{variant} {name}"
            mine, best, peak = alternate(options.rounds, f"W1 {label}", ("workload_w1", path, variant, warm_up, batches),
                                         ("limit_word_count", path, limit_reps), distinct)
            row = timed("W1", label, mine, best, peak, words / 1e6, "M words/s")
            seconds = words / 1e6 / row["ours"]
            yield row, f"{seconds * 1e3:.1f} ms a batch, {lines / seconds / 1e6:.2f} M lines/s, {size / seconds / 1e6:.0f} MB/s"


class Sender:
    """Sends a file again and again to each connection, as fast as it is read."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.send, args=(connection,), daemon=True).start()

    def send(self, connection):
        with connection, self.path.open("rb") as file:
            size = self.path.stat().st_size
            try:
                while True:
                    at = 0
                    while at < size:
                        at += os.sendfile(connection.fileno(), file.fileno(), at, min(size - at, 1 << 20))
            except OSError:
                pass


def w2(options):
    seconds = 24 if options.long else 12
    ours, best, cpu, costs, best_costs, delays, peak = [], [], [], [], [], [], 0.0
    with Sender(text("text100")) as sender:
        for _ in range(options.rounds):
            lines = program("workload_w2", "127.0.0.1", sender.port, seconds)
            if lines["RECEIVED"] != lines["IN_BATCHES"]:
                raise WrongResult(f"W2: {lines['RECEIVED'][0][0]} lines were received, {lines['IN_BATCHES'][0][0]} are in batches")
            rate, used, count = (float(word) for word in lines["LINES_A_SECOND"][0])
            ours.append(rate)
            cpu.append(used)
            costs.append(used / count * 1e6)
            delays.append(int(lines["DELAY_MS"][0][0]))
            peak = max(peak, int(lines["PEAK_KB"][0][0]) / 1024)
            limit = program("limit_socket_word_count", "127.0.0.1", sender.port, seconds)["LINES_A_SECOND"][0]
            rate, used, count = (float(word) for word in limit)
            best.append(rate)
            best_costs.append(used / count * 1e6)
    row = figure("W2", "socket word count", "M lines/s", statistics.median(ours) / 1e6, statistics.median(best) / 1e6, True,
                 min(ours) / 1e6, max(ours) / 1e6, len(ours), statistics.median(cpu), round(peak, 1))
    # A busy machine gives two counting threads more of itself than the limit's one; the cost of a line shows past that.
    yield row, (f"scheduling delay at the end {max(delays)} ms; {statistics.median(costs):.2f} us of CPU a line, "
                f"limit {statistics.median(best_costs):.2f}")


def w5_holds(lines, interval):
    """Whether no batch was lost and the delay did not grow over the second half of the run."""
    done, expected = (int(word) for word in lines["BATCHES"][0])
    third, fourth = (float(mean) for mean, _ in lines["DELAY_MS"][2:4])
    if lines["ROWS"] != [["10"]]:
        raise WrongResult(f"W5 at {interval} ms: expected 10 rows, found {lines['ROWS'][0][0]}")
    # Scheduling delays are whole milliseconds.
    return done >= expected * 0.95 - 2 and fourth <= third + max(1.0, 0.1 * interval)


def w5(options):
    mine, _, peak = alternate(options.rounds, "W5 driven", ("workload_w5", "driven", 200, 200), None, 10)
    row = timed("W5", "driven", mine, [], peak, unit="ms a batch", scale=1e3)
    yield row, f"{row['cpu_s'] * 1e6:.0f} us of CPU a batch"

    held, notes, peak, cpu = [], [], 0.0, None
    for interval in W5_INTERVALS_MS:
        lines = program("workload_w5", "real", interval, 4)
        if w5_holds(lines, interval):
            held.append(interval)
            cpu = float(lines["CPU"][0][0]) / max(1, int(lines["BATCHES"][0][0]))
            share = float(lines["CPU"][0][0]) / float(lines["CPU"][0][1])
            notes.append(f"{interval}: {share:.1%}")
        else:
            notes.append(f"{interval}: not held")
        peak = max(peak, int(lines["PEAK_KB"][0][0]) / 1024)
    smallest = min(held, default=None)
    yield (figure("W5", "real clock", "ms interval", smallest, None, False, smallest, max(held, default=None), len(W5_INTERVALS_MS),
                  cpu, round(peak, 1)), "of a core at ms " + ", ".join(notes))
    if options.long:
        lines = program("workload_w5", "real", 1, 60)
        quarters = [float(mean) for mean, _ in lines["DELAY_MS"]]
        worst = max(float(most) for _, most in lines["DELAY_MS"])
        cpu, wall = (float(word) for word in lines["CPU"][0])
        done, expected = lines["BATCHES"][0]
        held = "held" if w5_holds(lines, 1) else "NOT held"
        yield (figure("W5", "1 ms for a minute", "ms scheduling delay", quarters[3], None, False, min(quarters), worst, int(done),
                      cpu / max(1, int(done)), round(int(lines["PEAK_KB"][0][0]) / 1024, 1)),
               f"{held}: {done} of {expected} batches, {cpu / wall:.1%} of a core, delay by quarter {quarters}")


def w7a(options):
    path = text("text500")
    mine, best, peak = alternate(options.rounds, "W7a", ("workload_w7a", path, 2), ("limit_word_count", path, 2), TEXTS["text500"][5])
    yield timed("W7a", "textFile word count", mine, best, peak), f"{TEXTS['text500'][1] / statistics.median(w for w, _ in mine) / 1e6:.0f} MB/s"


def w7b(options):
    mine, best, peak = alternate(options.rounds, "W7b", ("workload_w7b", 3), ("limit_sort_by_key", 3), 10_000_000)
    yield timed("W7b", "sortByKey", mine, best, peak), ""


def w7c(options):
    mine, best, peak = alternate(options.rounds, "W7c", ("workload_w7c", 5), ("limit_join", 5), 2_000_874)
    yield timed("W7c", "join", mine, best, peak), ""


def keyed(name, variant, options, ours, limit, expected):
    """A figure of ms a batch; beside the median the mean and the slowest, which the checkpointing batches make."""
    mine, best, peak = alternate(options.rounds, f"{name} {variant}", ours, limit, expected)
    row = timed(name, variant, mine, best, peak, unit="ms a batch", scale=1e3)
    return row, f"mean {statistics.mean(wall for wall, _ in mine) * 1e3:.1f}, slowest {row['max']:.1f}, CPU {row['cpu_s'] * 1e3:.1f} ms"


def w3(options):
    row, remark = keyed("W3", "hash limit", options, ("workload_w3", 50), ("limit_window", "hash", 18), 1_000_000)
    array = statistics.median(wall for wall, _ in samples(program("limit_window", "array", 18), 1_000_000, "array limit of W3"))
    yield row, f"{remark}, array limit {array * 1e3:.1f} ms"


def w4u(keys, name):
    def workload(options):
        yield keyed(name, f"{keys // 1_000_000} M keys", options, ("workload_w4", "updateStateByKey", keys, 35), ("limit_state", "scan", keys),
                    keys)
    workload.__name__ = name
    return workload


def w4m(options):
    for keys in W4M_KEYS if options.long else W4M_KEYS[:1]:
        yield keyed("W4m", f"{keys // 1_000_000} M keys", options, ("workload_w4", "mapWithState", keys, 35), ("limit_state", "update", keys),
                    100_000)


W8_KEYS = (("first recovered batch", 100_000), ("100 MB of state", 4_200_000))


def w8(options):
    """The limit is none; what counts is the time from the start of the process."""
    for variant, keys in W8_KEYS:
        yield w8_with(variant, keys, options)


def w8_with(variant, keys, options):
    ready, completed, cpu, peak = [], [], [], 0.0
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=DATA) as directory:
            killed = subprocess.run([BUILD / "workload_w8", directory, str(keys)], stdout=subprocess.PIPE, text=True, check=False)
            rows = [line.split()[1:] for line in killed.stdout.splitlines()]
            if killed.returncode != -signal.SIGKILL or len(rows) != 15:
                raise WrongResult(f"W8: expected 15 batches and a SIGKILL, found {len(rows)} and {killed.returncode}")
            lines = program("workload_w8", directory, keys, time.monotonic())
            again = lines["ROWS"][0]
            if again not in rows:  # the kill may come before the last checkpoints are written
                raise WrongResult(f"W8: expected one of {rows} (batch, rows) first after the restart, found {again}")
        ready.append(float(lines["READY"][0][0]))
        completed.append((float(lines["FIRST_BATCH"][0][0]), float(lines["FIRST_BATCH"][0][1])))
        peak = max(peak, int(lines["PEAK_KB"][0][0]) / 1024)
    return timed("W8", variant, completed, [], peak), f"context ready after {statistics.median(ready):.4f} s"


class Broker:
    """A Kafka broker with the topic of W6, kept between runs."""

    RECORDS, PARTITIONS = 10_000_000, 4

    def __enter__(self):
        directory = DATA / "kafka"
        directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] - 1  # the controller listens on the port after it
        environment = dict(os.environ, KAFKA_FAST="1", KAFKA_HEAP="768m",
                           KAFKA_EXTRA=f"auto.create.topics.enable=true\nnum.partitions={self.PARTITIONS}")
        self.servers = f"127.0.0.1:{port}"
        self.process = subprocess.Popen([ROOT / "connectors/kafka/tests/broker.sh", "run", directory, str(port)], env=environment)
        filled = directory / "filled"
        try:
            if not filled.exists():
                note("filling the topic of W6")
                program("limit_kafka", self.servers, "t10m", "fill", self.RECORDS, self.PARTITIONS)
                filled.touch()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def w6(options):
    with Broker() as broker:
        program("limit_kafka", broker.servers, "t10m", 2, broker.RECORDS, broker.PARTITIONS, 1)  # warms broker and files
        for variant, mode in (("driven, 1 M a batch", "driven"), ("one RDD", "rdd")):
            mine, best, peak = alternate(
                options.rounds, f"W6 {variant}", ("workload_w6", broker.servers, "t10m", broker.RECORDS, mode, 1),
                ("limit_kafka", broker.servers, "t10m", 2, broker.RECORDS, broker.PARTITIONS, 1), broker.RECORDS)
            yield timed("W6", variant, mine, best, peak, broker.RECORDS / 1e6, "M records/s"), ""


def w6latency(options):
    """From source to sink in 10 ms batches; the aim for p99 is 30 ms."""
    rate, seconds = 50_000, 30 if options.long else 10
    medians, tails, slowest, cpu, peak = [], [], [], [], 0.0
    with Broker() as broker:
        for _ in range(options.rounds):
            topic = f"paced{time.monotonic_ns()}"
            pacer = subprocess.Popen([BUILD / "limit_kafka", broker.servers, topic, "pace", str(rate * seconds), str(broker.PARTITIONS),
                                      str(rate)], stdout=subprocess.PIPE, text=True)
            with pacer:
                pacer.stdout.readline()
                lines = program("workload_w6", broker.servers, topic, rate * seconds, "latency", rate)
            if pacer.returncode != 0 or lines["SEEN"] != [[str(rate * seconds)]]:
                raise WrongResult(f"W6 latency: expected {rate * seconds} records, found {lines['SEEN'][0][0]}")
            median, tail, _, most = (float(word) for word in lines["LATENCY_MS"][0])
            medians.append(median)
            tails.append(tail)
            slowest.append(most)
            cpu.append(float(lines["CPU"][0][0]) / float(lines["CPU"][0][1]))
            peak = max(peak, int(lines["PEAK_KB"][0][0]) / 1024)
    row = figure("W6l", "10 ms batches, 50 k records/s", "ms p99", statistics.median(tails), None, False, min(tails), max(tails), len(tails),
                 None, round(peak, 1))
    yield row, (f"{'held' if row['ours'] < 30 else 'MISSED'}: aim 30; median {statistics.median(medians):.1f}, slowest record {max(slowest):.0f}, "
                f"{statistics.median(cpu):.0%} of a core")


def w10(options):
    outputs = 1_000_000
    mine, best, peak = [], [], 0.0
    for _ in range(options.rounds):
        lines = program("workload_w10", 5, 20)
        if lines["STATES"] != [[str(25 * outputs)]]:
            raise WrongResult(f"W10: the states should add up to {25 * outputs}, found {lines['STATES'][0][0]}")
        mine += samples(lines, outputs, "W10")
        peak = max(peak, int(lines["PEAK_KB"][0][0]) / 1024)
        best += [wall for wall, _ in samples(program("limit_keyed_sum", 20), outputs, "limit of W10")]
    row = timed("W10", "keyed running sum", mine, best, peak, outputs / 1e6, "M events/s")
    yield row, f"mean {statistics.mean(wall for wall, _ in mine) * 1e3:.1f} ms a batch, slowest {max(wall for wall, _ in mine) * 1e3:.1f}"


def micro(options):
    """Hot kernels beside loops written by hand: nanoseconds an item, and the ratio to the hand-written one."""
    for path in sorted(BUILD.glob("*_bench")):
        run = subprocess.run([path, "--benchmark_format=json", f"--benchmark_repetitions={max(3, options.rounds)}",
                              "--benchmark_enable_random_interleaving=true", "--benchmark_min_time=0.2"],
                             stdout=subprocess.PIPE, text=True, check=True)
        times = {}
        for entry in json.loads(run.stdout)["benchmarks"]:
            if entry["run_type"] == "iteration":
                cpu = 1e9 / entry["items_per_second"]
                times.setdefault(entry["run_name"].split("/")[0], []).append(cpu)
        for name, all_times in times.items():
            # `wordCount` is measured against `wordCountByHand`.
            if name.endswith("ByHand"):
                continue
            ours, by_hand = statistics.median(all_times), times.get(name + "ByHand")
            limit = statistics.median(by_hand) if by_hand else None
            yield (figure("micro", name, "ns an item", ours, limit, False, min(all_times), max(all_times), len(all_times), None, None),
                   "")


WORKLOADS = {
    "W1": (w1,), "W2": (w2,), "W3": (w3,), "W4m": (w4m,), "W4u": (w4u(1_000_000, "W4u"), w4u(5_000_000, "W4u5")), "W5": (w5,), "W6": (w6,), "W6l": (w6latency,), "W7": (w7a, w7b, w7c),
    "W7a": (w7a,), "W7b": (w7b,), "W7c": (w7c,), "W8": (w8,), "W10": (w10,), "micro": (micro,),
}


def table(rows):
    def show(value):
        return "-" if value is None else f"{value:.4g}"

    head = ("id", "variant", "unit", "ours", "limit", "ratio", "n", "min", "max", "cpu s", "peak MB", "")
    cells = [head] + [
        (r["id"], r["variant"], r["unit"], show(r["ours"]), show(r["limit"]), show(r["ratio"]), str(r["n"]), show(r["min"]),
         show(r["max"]), show(r["cpu_s"]), show(r["peak_rss_mb"]), remark) for r, remark in rows
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    parser.add_argument("ids", nargs="+", choices=sorted(WORKLOADS), metavar="ID", help=", ".join(WORKLOADS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a line of JSON per figure")
    parser.add_argument("--rounds", type=int, default=3, help="how often a workload and its limit take turns (3)")
    parser.add_argument("--long", action="store_true", help="W5: hold 1 ms intervals for a minute too; W4m: 5 M and 20 M keys too; W2: 24 s a run, not 12")
    options = parser.parse_args()

    rows, failures = [], []
    for name in options.ids:
        for workload in WORKLOADS[name]:
            note(f"{workload.__name__.capitalize() if name != 'micro' else name} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
            try:
                for row, remark in workload(options):
                    rows.append((row, remark))
                    note(re.sub(r"\s+", " ", f"{row['id']} {row['variant']}: {row['ours']} {row['unit']} {remark}"))
            except WrongResult as error:
                failures.append(str(error))
                note(f"FAILED: {error}")
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row, _ in rows))
    table(rows)
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
