#include "fuzz/fuzz.hpp"
#include "operator_fit.hpp"
#include "rdd/bytes.hpp"
#include "rdd/detail/block_codec.hpp"
#include "rdd/frame.hpp"
#include "storage/block_file.hpp"
#include "streaming_checkpoint.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace dstream {
namespace {

using namespace detail;
using Counted = std::pair<std::string, int64_t>;

const std::string kPath = "/checkpoints/checkpoint-12000";

/// Makes both checksums right again, so that what lies behind them is reached.
void repair(std::string& frame) {
    if (frame.size() < Frame::kHeaderBytes) return;
    const auto store = [&](size_t offset, uint32_t value) { std::memcpy(frame.data() + offset, &value, sizeof value); };
    store(32, crc32c(asBytes(frame).subspan(Frame::kHeaderBytes)));
    store(36, crc32c(asBytes(frame).first(36)));
}

StreamingCheckpoint sample(int operators) {
    StreamingCheckpoint checkpoint;
    checkpoint.time = Time(12000);
    checkpoint.batchDuration = Seconds(1);
    checkpoint.pendingTimes = {Time(11000), Time(12000)};
    checkpoint.conf = {{"spark.app.name", "fuzz"}, {"spark.master", "local[2]"}};
    checkpoint.defaultParallelism = 2;
    checkpoint.rddDirectory = "/checkpoints/run";
    for (int i = 0; i < operators; ++i) {
        OperatorCheckpoint& op = checkpoint.operators.emplace_back();
        op.id = op.derivedId = "updateStateByKey(batches())" + (i == 0 ? "" : " " + std::to_string(i + 1));
        op.kind = "updateStateByKey";
        op.site = "updateStateByKey at fuzz.cpp:" + std::to_string(i);
        op.state = true;
        op.codecName = "pair<string,int64>";
        op.rdds[Time(10000)] = {"/checkpoints/run/rdd-" + std::to_string(i), 2, true};
        op.data = std::string(static_cast<std::size_t>(i), 'x');
    }
    return checkpoint;
}

/// The file of a checkpoint, compressed or not.
std::string fileOf(const StreamingCheckpoint& checkpoint, FrameCompression compression) {
    const std::vector<std::byte> bytes = encodeCheckpoint("/checkpoints", checkpoint);
    const Frame frame = decodeFrame(bytes, {.kind = 5, .newestSchema = UINT32_MAX}, kPath);
    return std::string(asText(encodeFrame(frame.kind, frame.schema, frame.body, compression)));
}

std::string blockOf(int elements) {
    std::vector<Counted> counted;
    for (int i = 0; i < elements; ++i) counted.emplace_back("word" + std::to_string(i), i);
    const BlockPtr block = std::make_shared<VectorBlock<Counted>>(Array<Counted>(counted.begin(), counted.end()));
    return std::string(asText(encodeBlock(*block, *blockCodecFor<Counted>())));
}

bool reads(const std::string& input) {
    try {
        const StreamingCheckpoint checkpoint = decodeCheckpoint(asBytes(input), kPath);
        // What was read is compared with a program as a start does it.
        static const StreamingCheckpoint program = sample(2);
        (void)fitOperators(checkpoint.operators, {program.operators.begin(), program.operators.end()});
        (void)checkpoint.rddDirectories();
        return true;
    } catch (const FrameException&) {
        return false;
    }
}

bool readsBlock(const std::string& input) {
    try {
        checkBlock(asBytes(input), kPath);
        (void)decodeBlock(asBytes(input), *blockCodecFor<Counted>(), kPath);
        return true;
    } catch (const SparkException&) {
        return false;
    }
}

int fuzzAll(int argc, char** argv) {
    std::vector<std::string> seeds;
    for (const auto compression : {FrameCompression::kNone, FrameCompression::kLz4}) {
        for (const int operators : {0, 1, 5}) seeds.push_back(fileOf(sample(operators), compression));
    }
    std::ifstream golden(DSTREAM_TEST_DATA "/checkpoint_schema_1", std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(golden), std::istreambuf_iterator<char>());
    for (const int elements : {0, 3, 500}) seeds.push_back(blockOf(elements));
    const std::set<std::string> valid(seeds.begin(), seeds.end());
    return fuzz::run(argc, argv, seeds, [&](const std::string& input, fuzz::Random&) -> std::string {
        if ((reads(input) || readsBlock(input)) && !valid.contains(input)) return "a damaged file was read";
        std::string repaired = input;
        repair(repaired);
        (void)reads(repaired);
        (void)readsBlock(repaired);
        return {};
    });
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    return dstream::fuzzAll(argc, argv);
}
