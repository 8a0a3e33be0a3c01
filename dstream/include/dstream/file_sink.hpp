#pragma once

#include "dstream/transactional_sink.hpp"

#include <memory>
#include <string>

namespace dstream {

/// Writes each batch as text into the directory `prefix-TIME_IN_MS[.suffix]`, a file `part-NNNNN` per partition and
/// `_SUCCESS` when all are there. Files appear whole and synced; a batch that runs again replaces each by the same
/// bytes, and removes those of partitions that it has not got.
///
///     lines.saveToSink("lines", std::make_shared<TextFileSink>("out/lines", "txt"));
class TextFileSink final : public TransactionalSink<std::string> {
public:
    /// @param codec  "" or "gzip"
    /// @throws IllegalArgumentException  for an unknown codec
    explicit TextFileSink(std::string prefix, std::string suffix = "", const std::string& codec = "");

    void beginBatch(const SinkBatch& batch) override;
    std::unique_ptr<SinkTransaction<std::string>> begin(const SinkPart& part) override;
    void endBatch(const SinkBatch& batch) override;

private:
    std::string directoryOf(const SinkBatch& batch) const;

    const std::string prefix_;
    const std::string suffix_;
    const std::string ending_;
};

}  // namespace dstream
