#pragma once

namespace dstream::detail {

/// While it lives, a SparkContext that this thread makes takes `parallelism` where `spark.default.parallelism` is not
/// set: a recovered program keeps the number of partitions it had, whatever the machine it runs on now.
class ParallelismScope {
public:
    /// @param parallelism  0 changes nothing
    explicit ParallelismScope(int parallelism);
    ~ParallelismScope();
    ParallelismScope(const ParallelismScope&) = delete;
    ParallelismScope& operator=(const ParallelismScope&) = delete;

    /// The parallelism of this thread's innermost scope, else `otherwise`.
    static int current(int otherwise);

private:
    const int before_;
};

}  // namespace dstream::detail
