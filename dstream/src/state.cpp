#include "dstream/dstream.hpp"
#include "dstream/state_node.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/spark_conf.hpp"

#include <string>

namespace dstream::detail {

bool scansEveryBatch(const StreamingContext& context) {
    const std::string when = context.sparkContext().getConf().get("dstream.state.timeoutScan", "checkpoint");
    require(when == "checkpoint" || when == "everyBatch",
            "dstream.state.timeoutScan must be checkpoint or everyBatch: " + when);
    return when == "everyBatch";
}

}  // namespace dstream::detail
