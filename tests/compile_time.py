"""Measures what it costs to include the library and to compile the word count and every operator over one variant type,
against the budget of the project.

    compile_time.py [--cxx g++] [--json FILE]

CPU seconds of the compiler, the least of three runs. Exit status 1 when a budget is exceeded.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-std=c++20", *(f"-I{ROOT / part / 'include'}" for part in ("rdd", "receivers", "dstream"))]

WORD_COUNT = """#include <dstream/dstream.hpp>
using namespace dstream;
int main() {
    StreamingContext ssc(SparkConf().setAppName("WordCount").setMaster("local[2]"), Seconds(1));
    auto counts = ssc.socketTextStream("localhost", 9999)
                      .flatMap([](std::string_view line) { return splitWords(line); })
                      .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
                      .reduceByKey(std::plus<>{});
    counts.print();
    ssc.start();
    ssc.awaitTermination();
}
"""

CONFORMANCE = ROOT / "tests" / "conformance"

# name, sources (texts or files), options, budget in CPU seconds
CASES = (
    ("#include <dstream/dstream.hpp> -O0", ["#include <dstream/dstream.hpp>\n"], ["-O0"], 1.5),
    ("#include <dstream/dstream.hpp> -O2", ["#include <dstream/dstream.hpp>\n"], ["-O2"], 1.5),
    ("word count -O2", [WORD_COUNT], ["-O2"], 4.0),
    ("every operator of the conformance runner -O1", [CONFORMANCE / "rdd_ops.cpp", CONFORMANCE / "stream_ops.cpp"],
     ["-O1", f"-I{CONFORMANCE}", f"-I{ROOT / 'tests'}", "--param=ggc-min-heapsize=1000000"], 60.0),
)


def cpu_seconds(command):
    before = os.times()
    subprocess.run(command, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cxx", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, exceeded = [], False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "main.cpp"

        def compile(written, flags):
            if isinstance(written, str):
                source.write_text(written)
            return cpu_seconds([options.cxx, *FLAGS, *flags, "-c", str(source if isinstance(written, str) else written),
                                "-o", str(source.with_suffix(".o"))])

        for name, sources, flags, budget in CASES:
            times = [sum(compile(written, flags) for written in sources) for _ in range(3)]
            print(f"{'ok      ' if min(times) <= budget else 'EXCEEDED'}  {name}: {min(times):.2f} s of {budget} s")
            exceeded = exceeded or min(times) > budget
            rows.append({"id": "compile", "variant": name, "unit": "s", "ours": min(times), "limit": budget,
                         "ratio": budget / min(times), "n": len(times), "min": min(times), "max": max(times),
                         "cpu_s": min(times), "peak_rss_mb": None})
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
