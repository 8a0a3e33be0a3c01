#pragma once

#include "rdd/clock.hpp"
#include "rdd/spark_conf.hpp"
#include "receivers/write_ahead_log.hpp"

#include <memory>
#include <string>

namespace dstream::detail {

/// Makes the log of a stream's blocks: of the class that spark.streaming.receiver.writeAheadLog.class names, else
/// files.
/// @throws SparkException  for an unknown name, or when it cannot be made
std::unique_ptr<WriteAheadLog> makeReceiverLog(const SparkConf& conf, const std::string& directory,
                                               std::shared_ptr<Clock> clock);
/// The same for the log of what becomes of blocks; the setting is spark.streaming.driver.writeAheadLog.class.
std::unique_ptr<WriteAheadLog> makeDriverLog(const SparkConf& conf, const std::string& directory,
                                             std::shared_ptr<Clock> clock);

}  // namespace dstream::detail
