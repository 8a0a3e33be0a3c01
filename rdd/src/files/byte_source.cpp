#include "files/byte_source.hpp"

#include <zlib.h>

#include <algorithm>
#include <utility>

namespace dstream::detail {

namespace {

class FileSource final : public ByteSource {
public:
    FileSource(const InputFile& file, uint64_t start, Fs& fs)
        : planned_(file.sizeBytes), position_(start), file_(fs.open(file.path, Fs::Mode::kRead)) {}

private:
    size_t doRead(std::span<std::byte> place) override {
        const size_t wanted = static_cast<size_t>(std::min<uint64_t>(place.size(), planned_ - position_));
        const size_t count = file_.readAt(place.first(wanted), position_);
        position_ += count;
        if (count < wanted) {
            throw SparkException(file_.path() + " became shorter while it was read: it had " +
                                 std::to_string(planned_) + " bytes when the job was planned, now it ends after " +
                                 std::to_string(position_) +
                                 "; move complete files into place instead of rewriting them");
        }
        return count;
    }

    uint64_t planned_;
    uint64_t position_;
    File file_;
};

class InflateSource final : public ByteSource {
public:
    InflateSource(std::unique_ptr<ByteSource> compressed, std::string origin)
        : compressed_(std::move(compressed)), origin_(std::move(origin)) {
        constexpr int kGzipOrZlib = MAX_WBITS + 32;
        if (inflateInit2(&stream_, kGzipOrZlib) != Z_OK)
            throw SparkException("not enough memory to decompress " + origin_);
    }
    ~InflateSource() override { inflateEnd(&stream_); }
    InflateSource(const InflateSource&) = delete;
    InflateSource& operator=(const InflateSource&) = delete;

private:
    size_t doRead(std::span<std::byte> place) override {
        stream_.next_out = reinterpret_cast<Bytef*>(place.data());
        const auto room = static_cast<uInt>(std::min<size_t>(place.size(), size_t{1} << 30));
        stream_.avail_out = room;
        while (stream_.avail_out == room) {
            if (stream_.avail_in == 0) {
                stream_.avail_in = static_cast<uInt>(compressed_->read(input_));
                stream_.next_in = reinterpret_cast<Bytef*>(input_);
                if (stream_.avail_in == 0) {
                    if (insideStream_) throw SparkException(origin_ + " ends in the middle of its compressed data");
                    break;
                }
            }
            if (!insideStream_) {  // the first stream, or one more behind another
                inflateReset(&stream_);
                insideStream_ = true;
            }
            const int result = inflate(&stream_, Z_NO_FLUSH);
            if (result == Z_STREAM_END) {
                insideStream_ = false;
            } else if (result != Z_OK && result != Z_BUF_ERROR) {
                throw SparkException(origin_ +
                                     " is no sound gzip file: " + (stream_.msg != nullptr ? stream_.msg : "damaged"));
            }
        }
        return room - stream_.avail_out;
    }

    std::unique_ptr<ByteSource> compressed_;
    const std::string origin_;
    z_stream stream_{};
    bool insideStream_ = false;
    std::byte input_[size_t{1} << 16];
};

}  // namespace

std::unique_ptr<ByteSource> openFile(const InputFile& file, uint64_t start, Fs& fs) {
    return std::make_unique<FileSource>(file, start, fs);
}

std::unique_ptr<ByteSource> decompress(std::unique_ptr<ByteSource> compressed, std::string origin) {
    return std::make_unique<InflateSource>(std::move(compressed), std::move(origin));
}

std::unique_ptr<ByteSource> openContents(const InputFile& file) {
    std::unique_ptr<ByteSource> source = openFile(file, 0);
    return isCompressed(file.path) ? decompress(std::move(source), file.path) : std::move(source);
}

}  // namespace dstream::detail
