#pragma once

#include "rdd/rdd.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/spark_context.hpp"
#include "rdd/storage_level.hpp"
#include "rdd/time.hpp"

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

namespace dstream {

template <class T>
class DStream;
template <class T>
class InputDStream;
template <class T>
class Receiver;
template <class T>
class ReceiverInputDStream;
template <class T>
class RDDQueue;
class StreamingListener;
class TextDStream;

namespace detail {
class StreamingCore;
class StreamingOwner;

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;
}  // namespace detail

enum class StreamingContextState { INITIALIZED, ACTIVE, STOPPED };

/// What has become of the checkpoints of a context.
struct CheckpointCounters {
    int64_t written = 0;
    int64_t failed = 0;   // could not be written, after three attempts
    int64_t damaged = 0;  // found by the start and set aside as *.corrupt
};

/// Where a streaming program begins: makes input streams, starts and stops the batches.
/// A copyable handle; the copies share one context. When the last one goes the context stops at once; `stop` before is
/// the clean way. Streams are added from one thread, before `start`; everything else may be called from any thread.
///
///     StreamingContext ssc(SparkConf().setAppName("WordCount").setMaster("local[2]"), Seconds(1));
///     auto lines = ssc.socketTextStream("localhost", 9999);
///     lines.count().print();
///     ssc.start();
///     ssc.awaitTermination();
class StreamingContext {
public:
    /// Shares an existing SparkContext.
    /// @throws IllegalArgumentException  when the batch duration is not positive
    StreamingContext(SparkContext sparkContext, Duration batchDuration);
    /// Makes a SparkContext of its own.
    /// @throws SparkException  when master or application name is missing, or another SparkContext is active
    StreamingContext(const SparkConf& conf, Duration batchDuration);
    StreamingContext(const std::string& master, const std::string& appName, Duration batchDuration,
                     const std::string& sparkHome = "", const std::vector<std::string>& jars = {},
                     const std::map<std::string, std::string>& environment = {});

    /// Goes on from the newest checkpoint that is not damaged, with the settings, the batch duration and the directory
    /// that it holds; `define` builds the program's streams, as the function given to getOrCreate does.
    /// @throws IllegalArgumentException  when there is no checkpoint
    /// @throws SparkException  when none can be read
    /// @throws UnsupportedOperationException  without `define`: functions cannot be read back from a file
    explicit StreamingContext(const std::string& checkpointPath,
                              const std::function<void(const StreamingContext&)>& define = nullptr);
    /// As above with a SparkContext, whose settings count.
    StreamingContext(const std::string& checkpointPath, SparkContext sparkContext,
                     const std::function<void(const StreamingContext&)>& define = nullptr);

    SparkContext sparkContext() const;
    Duration batchDuration() const;
    StreamingContextState getState() const;

    /// Makes every stream keep its RDDs for at least this long. Once only.
    /// @throws IllegalArgumentException  when called a second time
    void remember(Duration duration);
    /// Sets the checkpoint directory, creating it; null switches checkpoints off.
    void checkpoint(const std::string& directory);
    void checkpoint(std::nullptr_t);

    /// Starts the batches. A context that runs already is left alone, with a warning.
    /// @throws IllegalStateException     when stopped before, or while another context is active (this one stays as it
    /// is)
    /// @throws IllegalArgumentException  when there is no output operation or a stream is not fit to run; the context
    /// is
    ///                                   stopped then
    void start();
    /// Blocks until the context has stopped; throws the latest error of a job or of the generation of jobs.
    void awaitTermination() const;
    /// As awaitTermination for at most `timeoutMs` (negative: for ever). True when stopped.
    bool awaitTerminationOrTimeout(int64_t timeoutMs) const;
    /// Stops at once; whether the SparkContext too says `spark.streaming.stopSparkContextByDefault` (true).
    void stop();
    /// Graceful: received data is processed first. Called from the context's own threads (a `transform` or `foreachRDD`
    /// function) it returns at once and the stop goes on behind it.
    /// @throws SparkException  when called by a listener
    void stop(bool stopSparkContext, bool stopGracefully = false);

    /// Runs the output operations of one past batch again, on a context from a checkpoint that has not been started:
    /// from the input that was recorded for the batch and the state before it. The same bytes come out, whatever the
    /// number of threads. As often as wanted; the checkpoint stays as it is, and `start` goes on from it as ever. What
    /// receivers stored is read from their write-ahead logs, which no other process may be writing.
    /// @throws IllegalStateException  when the context is not from a checkpoint, or has been started
    /// @throws IllegalArgumentException  when the checkpoint does not reach back to this batch, naming those it has
    /// @throws SparkException  what the batch throws; when received blocks are in no log, or another process runs on
    /// the directory
    void replay(Time batchTime);

    CheckpointCounters checkpointCounters() const;

    void addStreamingListener(std::shared_ptr<StreamingListener> listener);
    void removeStreamingListener(const std::shared_ptr<StreamingListener>& listener);

    /// The context that has been started and not stopped.
    static std::optional<StreamingContext> getActive();
    /// The active context, else what `create` returns (not started).
    static StreamingContext getActiveOrCreate(const std::function<StreamingContext()>& create);
    /// What `create` returns, not started. If there is a checkpoint in the directory, `start` goes on from the newest
    /// one that is not damaged: the state comes back, and the batches that were pending or missed are run first. So
    /// `create` must define the whole program, and call `checkpoint(checkpointPath)`. `start` throws SparkException,
    /// naming the operators, when the program does not fit the checkpoint, and NotSerializableException when it has a
    /// queueStream.
    /// @param createOnError  starts anew when no checkpoint can be read
    /// @throws SparkException  when there are checkpoints and none can be read, or one is of another batch duration or
    /// a newer version
    static StreamingContext getOrCreate(const std::string& checkpointPath,
                                        const std::function<StreamingContext()>& create, bool createOnError = false);
    /// The active context, else getOrCreate.
    static StreamingContext getActiveOrCreate(const std::string& checkpointPath,
                                              const std::function<StreamingContext()>& create,
                                              bool createOnError = false);

    /// A stream of what a receiver stores.
    template <class T>
    ReceiverInputDStream<T> receiverStream(std::shared_ptr<Receiver<T>> receiver,
                                           std::source_location site = std::source_location::current()) const;
    /// Lines of text from a TCP server. LF, CR or CRLF end a line.
    TextDStream socketTextStream(const std::string& host, int port,
                                 StorageLevel level = StorageLevel::MEMORY_AND_DISK_SER_2,
                                 std::source_location site = std::source_location::current()) const;
    /// Records that `converter` (istream& -> Iterator<T>) reads from a TCP connection.
    template <class T, class Converter>
    ReceiverInputDStream<T> socketStream(const std::string& host, int port, Converter converter, StorageLevel level,
                                         std::source_location site = std::source_location::current()) const;
    /// Blocks in the framework's own format from a TCP server, each behind its length.
    template <class T>
    ReceiverInputDStream<T> rawSocketStream(const std::string& host, int port,
                                            StorageLevel level = StorageLevel::MEMORY_AND_DISK_SER_2,
                                            std::source_location site = std::source_location::current()) const;

    /// Takes its RDDs from a queue: one per batch, or all that wait. An empty queue gives an RDD with one empty
    /// partition.
    template <class T>
    InputDStream<T> queueStream(std::shared_ptr<RDDQueue<T>> queue, bool oneAtATime = true,
                                std::source_location site = std::source_location::current()) const;
    /// As above; an empty queue gives `defaultRDD`, and without one an RDD without partitions.
    template <class T>
    InputDStream<T> queueStream(std::shared_ptr<RDDQueue<T>> queue, bool oneAtATime,
                                std::optional<std::type_identity_t<RDD<T>>> defaultRDD,
                                std::source_location site = std::source_location::current()) const;

    /// The records of files that appear in a directory. `F` reads one file: `F()(path)` returns a range of std::pair<K,
    /// V>. Files must appear complete, by a rename. Not recursive; the directory may be a glob.
    /// @param filter        gets the whole path; without one, names that begin with '.' are left out
    /// @param newFilesOnly  false: files that are there already are taken too, if they are not older than
    ///                      spark.streaming.fileStream.minRememberDuration
    template <class K, class V, class F>
    InputDStream<std::pair<K, V>> fileStream(const std::string& directory,
                                             std::function<bool(const std::string& path)> filter = nullptr,
                                             bool newFilesOnly = true,
                                             std::source_location site = std::source_location::current()) const;
    /// The lines of files that appear in a directory.
    TextDStream textFileStream(const std::string& directory,
                               std::source_location site = std::source_location::current()) const;
    /// Records of a fixed length from files that appear in a directory.
    DStream<std::string> binaryRecordsStream(const std::string& directory, int recordLength,
                                             std::source_location site = std::source_location::current()) const;

    /// The union of streams with equal slide durations.
    template <class T>
    DStream<T> unionAll(const std::vector<DStream<T>>& streams,
                        std::source_location site = std::source_location::current()) const;
    /// `f(const RDD<T1>&, const RDD<T2>&, …, Time)` makes one RDD of those of each batch.
    template <class F, class... Streams>
    requires(sizeof...(Streams) > 0 && !detail::kIsVector<F>) auto transform(F f, const Streams&... streams) const;
    /// As above for many streams of one type: `f(const std::vector<RDD<T>>&, Time)`.
    template <class T, class F>
    auto transform(const std::vector<DStream<T>>& streams, F f,
                   std::source_location site = std::source_location::current()) const;

    /// Two handles are equal when they are of one context.
    bool operator==(const StreamingContext&) const = default;

    /// Insides, for streams of one's own.
    explicit StreamingContext(std::shared_ptr<detail::StreamingOwner> owner) : owner_(std::move(owner)) {}
    const std::shared_ptr<detail::StreamingOwner>& owner() const { return owner_; }

private:
    detail::StreamingCore& core() const;

    std::shared_ptr<detail::StreamingOwner> owner_;
};

}  // namespace dstream
