#include "rdd/detail/block_codec.hpp"

#include "rdd/detail/block_file_check.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "storage/block_file.hpp"

#include <cstdio>

namespace dstream::detail {
namespace {

std::string partName(int partition) {
    char name[32];
    std::snprintf(name, sizeof name, "part-%05d", partition);
    return name;
}

}  // namespace

std::shared_ptr<const Block> readBlockFile(const std::string& directory, int partition, const BlockCodec& codec,
                                           TaskMetrics* metrics) {
    const std::string path = directory + "/" + partName(partition);
    DSTREAM_FAILPOINT("checkpoint.read_block");
    const std::vector<std::byte> bytes = posixFs().readFile(path);
    BlockPtr block = decodeBlock(bytes, codec, path);
    if (metrics != nullptr) {
        metrics->recordsRead += block->numRecords().value_or(0);
        metrics->bytesRead += static_cast<int64_t>(bytes.size());
    }
    return block;
}

void checkBlockFile(const std::string& directory, int partition) {
    const std::string path = directory + "/" + partName(partition);
    checkBlock(posixFs().readFile(path), path);
}

int64_t writeBlockFile(const std::string& directory, int partition, const Block& block, const BlockCodec& codec,
                       int64_t attempt) {
    Fs& fs = posixFs();
    const std::string path = directory + "/" + partName(partition);
    if (fs.exists(path)) {
        fs.syncDirectory(directory);  // which may be what failed the first time
        return 0;
    }
    const std::string temporary = directory + "/." + partName(partition) + "-attempt-" + std::to_string(attempt);
    try {
        File file = fs.open(temporary, Fs::Mode::kTruncate);
        DSTREAM_FAILPOINT("checkpoint.write_block");
        const std::vector<std::byte> bytes = encodeBlock(block, codec);
        file.write(bytes);
        file.sync();
        file.close();
        DSTREAM_FAILPOINT("checkpoint.rename_block");
        fs.rename(temporary, path);
        fs.syncDirectory(directory);
        return static_cast<int64_t>(bytes.size());
    } catch (...) {
        try {
            fs.remove(temporary);
        } catch (const std::exception&) {  // the error in flight is the one to report
        }
        throw;
    }
}

}  // namespace dstream::detail
