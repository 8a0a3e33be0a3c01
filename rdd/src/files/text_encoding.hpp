#pragma once

#include "files/byte_source.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace dstream::detail {

/// Converts text between UTF-8 and another encoding, piece by piece; a character may be cut by the end of a piece. What
/// is UTF-8 on both sides is passed on as it is, whatever bytes it has. One thread.
class TextConverter {
public:
    /// @param origin  what the text is, for messages
    /// @throws IllegalArgumentException  for an encoding that the system does not know
    TextConverter(const std::string& from, const std::string& to, std::string origin);
    ~TextConverter();
    TextConverter(const TextConverter&) = delete;
    TextConverter& operator=(const TextConverter&) = delete;

    /// False when text goes through unchanged.
    bool converts() const { return handle_ != nullptr; }
    /// Appends the converted piece to `converted`.
    /// @throws SparkException  for text that is not of the encoding, or that the other one cannot express
    void convert(std::string_view piece, std::string& converted);
    /// Tells that there are no more pieces.
    /// @throws SparkException  when the text ends within a character
    void finish() const;

private:
    const std::string from_;
    const std::string to_;
    const std::string origin_;
    void* handle_ = nullptr;  // of iconv
    std::string rest_;        // the beginning of a character
};

/// The bytes of a source, converted to UTF-8.
std::unique_ptr<ByteSource> decodeText(std::unique_ptr<ByteSource> encoded, const std::string& encoding,
                                       std::string origin);

}  // namespace dstream::detail
