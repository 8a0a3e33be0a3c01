#include "files/text_encoding.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iconv.h>
#include <utility>

namespace dstream::detail {
namespace {

bool isUtf8(std::string name) {
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    return name == "UTF-8" || name == "UTF8";
}

class DecodedSource final : public ByteSource {
public:
    DecodedSource(std::unique_ptr<ByteSource> encoded, const std::string& encoding, std::string origin)
        : encoded_(std::move(encoded)), converter_(encoding, "UTF-8", std::move(origin)) {}

private:
    size_t doRead(std::span<std::byte> place) override {
        while (given_ == text_.size()) {
            text_.clear();
            given_ = 0;
            std::array<std::byte, size_t{16} << 10> piece;
            const size_t count = encoded_->read(piece);
            if (count == 0) {
                converter_.finish();
                return 0;
            }
            converter_.convert({reinterpret_cast<const char*>(piece.data()), count}, text_);
        }
        const size_t count = std::min(place.size(), text_.size() - given_);
        std::memcpy(place.data(), text_.data() + given_, count);
        given_ += count;
        return count;
    }

    const std::unique_ptr<ByteSource> encoded_;
    TextConverter converter_;
    std::string text_;
    size_t given_ = 0;
};

}  // namespace

TextConverter::TextConverter(const std::string& from, const std::string& to, std::string origin)
    : from_(from), to_(to), origin_(std::move(origin)) {
    if (isUtf8(from) && isUtf8(to)) return;
    const iconv_t handle = ::iconv_open(to.c_str(), from.c_str());
    // The error as POSIX has it.
    if (handle == reinterpret_cast<iconv_t>(-1)) {  // NOLINT(performance-no-int-to-ptr)
        throw IllegalArgumentException(
            "expected an encoding that the system knows, as UTF-8, ISO-8859-1 or UTF-16LE, found '" +
            (isUtf8(to) ? from : to) + "'");
    }
    handle_ = handle;
}

TextConverter::~TextConverter() {
    if (handle_ != nullptr) ::iconv_close(handle_);
}

void TextConverter::convert(std::string_view piece, std::string& converted) {
    if (!converts()) {
        converted += piece;
        return;
    }
    rest_ += piece;
    char* in = rest_.data();
    size_t left = rest_.size();
    while (left > 0) {
        std::array<char, 4096> buffer;
        char* out = buffer.data();
        size_t room = buffer.size();
        const size_t result = ::iconv(handle_, &in, &left, &out, &room);
        const int error = errno;
        converted.append(buffer.data(), buffer.size() - room);
        if (result != static_cast<size_t>(-1) || error == E2BIG) continue;
        if (error == EINVAL) break;  // the rest of the character comes with the next piece
        throw SparkException(origin_ + " has text that cannot be converted from " + from_ + " to " + to_ +
                             "; give pipe the encoding that the process reads and writes");
    }
    rest_.erase(0, rest_.size() - left);
}

void TextConverter::finish() const {
    if (!rest_.empty()) throw SparkException(origin_ + " ends within a character of its encoding, " + from_);
}

std::unique_ptr<ByteSource> decodeText(std::unique_ptr<ByteSource> encoded, const std::string& encoding,
                                       std::string origin) {
    return std::make_unique<DecodedSource>(std::move(encoded), encoding, std::move(origin));
}

}  // namespace dstream::detail
