#pragma once

#include "dstream/input_streams.hpp"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

/// Says which files a file stream takes: gets the whole path.
using FileFilter = std::function<bool(const std::string& path)>;

namespace detail {

/// Finds the files that belong to a batch: those whose modification time lies after the threshold and not after the
/// batch time, and which no remembered batch has had. Says why it leaves out the others.
class FileSelector {
public:
    /// @param filter  empty: names that do not begin with '.'
    FileSelector(const StreamingContext& ssc, int streamId, std::string directory, FileFilter filter,
                 bool newFilesOnly);

    /// How long a file is looked for after its modification time: spark.streaming.fileStream.minRememberDuration in
    /// whole batches.
    Duration window() const { return window_; }
    /// The files of a batch, sorted by path; reports them as the stream's input. The same list again for the same
    /// batch.
    std::vector<std::string> select(const StreamingContext& ssc, Time batchTime);
    /// Forgets the batches before `time`.
    void forgetBefore(Time time);
    /// The remembered batches with their files, as bytes; `restore` replaces what there is by them.
    std::string save() const;
    void restore(const std::string& saved);

private:
    std::vector<std::string> list(Time batchTime);
    std::string whyIgnored(const std::string& path, Time batchTime, int64_t threshold) const;

    const int streamId_;
    const std::string directory_;
    const FileFilter filter_;
    const Duration batchDuration_;
    const Duration window_;
    const std::shared_ptr<Clock> clock_;
    int64_t initialThreshold_;
    std::map<Time, std::vector<std::string>> selected_;
    std::set<std::string> recent_;                // all files in selected_
    std::map<std::string, std::string> ignored_;  // files in the directory that were left out, and why
};

/// A stream of the files that appear in a directory; `make(sc, files)` makes the RDD of a batch.
template <class R, class Make>
class FileNode final : public InputDStreamNodeOf<R> {
public:
    FileNode(const StreamingContext& ssc, std::string directory, FileFilter filter, bool newFilesOnly, Make make,
             const char* operatorName, CallSite site)
        : InputDStreamNodeOf<R>(ssc, "File stream", operatorName, site),
          selector_(ssc, this->id(), std::move(directory), std::move(filter), newFilesOnly),
          make_(std::move(make)) {
        this->remember(selector_.window());
    }

    void clearMetadata(Time time) override {
        InputDStreamNodeOf<R>::clearMetadata(time);
        selector_.forgetBefore(time - *this->rememberDuration());
    }
    std::string checkpointData(Time) const override { return selector_.save(); }
    void restoreCheckpointData(const std::string& data) override { selector_.restore(data); }

private:
    std::optional<R> compute(Time time) override {
        const StreamingContext ssc = this->context();
        return make_(ssc.sparkContext(), selector_.select(ssc, time));
    }

    FileSelector selector_;
    const Make make_;
};

}  // namespace detail

/// `readFile` is made once; it is copied to each task and called with the path of each file.
template <class K, class V, class F>
InputDStream<std::pair<K, V>> StreamingContext::fileStream(const std::string& directory, FileFilter filter,
                                                           bool newFilesOnly, std::source_location site) const {
    auto make = [site](const SparkContext& sc, std::vector<std::string> files) -> RDD<std::pair<K, V>> {
        if (files.empty()) return sc.emptyRDD<std::pair<K, V>>(site);
        const int count = static_cast<int>(files.size());
        return sc.parallelize(std::move(files), count, site)
            .flatMap([read = F()](const std::string& path) mutable { return read(path); }, site);
    };
    using Node = detail::FileNode<RDD<std::pair<K, V>>, decltype(make)>;
    return makeInputStream<Node>(*this, directory, std::move(filter), newFilesOnly, make, "fileStream",
                                 CallSite::from(site));
}

}  // namespace dstream
