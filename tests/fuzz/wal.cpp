#include "fuzz/fuzz.hpp"
#include "rdd/bytes.hpp"
#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/frame.hpp"
#include "rdd/log.hpp"
#include "wal_block_store.hpp"
#include "wal_segment.hpp"

#include <set>
#include <utility>

namespace dstream {
namespace {

using detail::WalRecordType;

/// A segment of `groups` writes with two records each.
std::string segmentOf(uint64_t number, uint64_t firstSequence, int groups, bool closed, size_t zeros) {
    ByteWriter out;
    out.bytes(detail::encodeWalHeader({number, firstSequence}));
    uint64_t sequence = firstSequence;
    const auto put = [&](WalRecordType type, const std::string& payload) {
        detail::appendWalRecordHead(out, sequence, type, asBytes(payload));
        out.bytes(payload);
    };
    for (int i = 0; i < groups; ++i) {
        put(WalRecordType::kFirstData, "12345678 group " + std::to_string(sequence));
        ++sequence;
        put(WalRecordType::kData, std::string(static_cast<size_t>(8 + i * 7), 'x'));
        ++sequence;
    }
    if (closed) put(WalRecordType::kEnd, "");
    return out.takeString() + std::string(zeros, '\0');
}

/// A log that holds one record.
class OneRecord final : public WriteAheadLog {
public:
    explicit OneRecord(std::string bytes) : bytes_(std::move(bytes)) {}
    WriteAheadLogRecordHandle write(const ByteBuffer&, int64_t) override { return {}; }
    ByteBuffer read(const WriteAheadLogRecordHandle&) override { return {}; }
    Iterator<ByteBuffer> readAll() override { return Iterator<ByteBuffer>(std::vector<ByteBuffer>{{bytes_}}); }
    void clean(int64_t, bool) override {}
    void close() override {}

private:
    const std::string bytes_;
};

std::vector<std::string> trackerRecords() {
    std::vector<std::string> records;
    ByteWriter added;
    added.i64(5);
    added.u8(1);
    added.u32(0);
    added.i64(77);
    added.i64(3);
    added.u8(1);
    added.i64(4);
    added.text("handle");
    records.push_back(added.takeString());
    for (const uint8_t kind : {2, 3}) {
        ByteWriter out;
        out.i64(6);
        out.u8(kind);
        out.i64(1000);
        if (kind == 2) out.i64(0);
        out.u64(2);
        for (int i = 0; i < 2; ++i) {
            if (kind == 2) out.u32(0);
            out.i64(77 + i);
        }
        records.push_back(out.takeString());
    }
    return records;
}

/// Calls a reader that may refuse its input.
template <class Read>
void refusable(Read read) {
    try {
        read();
    } catch (const SparkException&) {
    }
}

int fuzzAll(int argc, char** argv) {
    setLogLevel(LogLevel::kOff);
    std::vector<std::string> seeds;
    std::set<std::pair<uint64_t, std::string>> valid;
    for (const auto& [groups, closed, zeros] : std::vector<std::tuple<int, bool, size_t>>{
             {0, false, 100}, {1, false, 0}, {3, false, 64}, {5, true, 0}, {20, false, 300}}) {
        seeds.push_back(segmentOf(seeds.size() + 1, 1 + seeds.size() * 2, groups, closed, zeros));
        for (const auto& record : detail::scanWalSegment(asBytes(seeds.back()), 0, UINT64_MAX, "seed").records) {
            valid.emplace(record.sequence, asText(record.payload));
        }
    }
    const BlockCodec* codec = detail::blockCodecFor<std::string>();
    std::vector<std::string> blocks;
    blocks.push_back(detail::encodeReceivedBlock(VectorBlock<std::string>({"a", "bc", ""}), codec).bytes);
    blocks.push_back(detail::encodeReceivedBlock(BytesBlock("bytes", 3), nullptr).bytes);
    blocks.push_back(detail::encodeReceivedBlock(TextBlock("a\nbcd\r\n\n", {2, 7, 8}), nullptr).bytes);
    const std::vector<std::string> records = trackerRecords();
    const auto clock = std::make_shared<ManualClock>(0);

    return fuzz::run(argc, argv, seeds, [&](const std::string& input, fuzz::Random& random) -> std::string {
        std::string wrong;
        refusable([&] {
            const uint64_t voidFrom = fuzz::below(random, 3) == 0 ? fuzz::below(random, 20) : UINT64_MAX;
            const auto scan = detail::scanWalSegment(asBytes(input), fuzz::below(random, 5), voidFrom, "input");
            if (scan.endOffset > input.size()) wrong = "an end behind the end";
            for (const auto& record : scan.records) {
                if (!valid.contains({record.sequence, std::string(asText(record.payload))})) {
                    wrong = "a damaged record was accepted";
                }
            }
        });
        const auto mutated = [&](const std::vector<std::string>& from) {
            return fuzz::mutate(from[fuzz::below(random, from.size())], from[fuzz::below(random, from.size())], random);
        };
        refusable([&] { (void)detail::decodeReceivedBlock(mutated(blocks), codec, "input"); });
        refusable([&] {
            const detail::WalBlockStore store(memoryBlockStore(), clock, {}, {});
            detail::WalTrackerLog log(std::make_unique<OneRecord>(mutated(records)), clock, {}, {});
            (void)log.recover(store);
        });
        return wrong;
    });
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    return dstream::fuzzAll(argc, argv);
}
