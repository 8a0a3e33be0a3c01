#pragma once

#include "receivers/receiver.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace dstream {

/// Brings lines of text into the program as they arrive: bytes are copied once, into one buffer per block, never into a
/// string per line. Derive from it for a source of text; storeText() takes pieces cut anywhere. store(line) works too;
/// a line that contains a line end becomes several.
///
///     void readSome() { storeText({buffer_, file_.read(buffer_)}); }
class TextReceiver : public Receiver<std::string> {
public:
    using Receiver<std::string>::Receiver;

protected:
    /// Appends text to the current block. The rate limit counts lines. Lines longer than dstream.socket.maxLineBytes
    /// are dropped and counted; an error event tells of them. Called by one thread at a time.
    /// @return how many lines were dropped
    /// @throws SparkException  when the receiver has been stopped
    int64_t storeText(std::string_view text);
    /// Ends the text: an unterminated last line is stored as a line. To be called when the source has ended.
    void endText();
    /// Drops an unterminated last line, for a source that begins anew.
    void dropPartialLine();

private:
    std::unique_ptr<detail::BlockBuffer> makeBuffer() const override;
    int64_t admitted_ = 0;  // lines that the rate limit has let in and that have not come yet
};

}  // namespace dstream
