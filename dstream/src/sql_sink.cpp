#include "dstream/sql_sink.hpp"

#include "rdd/exceptions.hpp"

#include <utility>

namespace dstream {

class SqlSink::Rows final : public SinkTransaction<SqlRow> {
public:
    Rows(SqlSink& sink, SinkPart part) : sink_(sink), part_(std::move(part)) {}
    void write(const SqlRow& row) override { rows_.push_back(row); }
    void commit() override { sink_.commitRows(part_, rows_); }

private:
    SqlSink& sink_;  // outlives the task
    const SinkPart part_;
    std::vector<SqlRow> rows_;
};

std::unique_ptr<SinkTransaction<SqlRow>> SqlSink::begin(const SinkPart& part) {
    if (isCommitted(part)) return nullptr;
    return std::make_unique<Rows>(*this, part);
}

void SqlSink::throwOtherPartitions(const SinkPart& part, int64_t found) {
    throw SparkException("batch " + part.time.toString() + " of \"" + part.operation + "\" was committed in part, in " +
                         std::to_string(found) + " partitions, and has " + std::to_string(part.numPartitions) +
                         " now; run it with as many as before, or remove its rows and those in dstream_commits");
}

}  // namespace dstream
