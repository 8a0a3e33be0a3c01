#pragma once

#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"
#include "receivers/receiver_tracker.hpp"
#include "receivers/socket_receivers.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace dstream::testing_support {

constexpr std::chrono::seconds kDeadline{20};

/// A list that grows from any thread and can be waited for.
template <class T>
class Growing {
public:
    void add(T value) {
        std::lock_guard lock(mutex_);
        values_.push_back(std::move(value));
        grown_.notify_all();
    }
    /// The values once there are `count`; fewer only when the deadline passes.
    std::vector<T> atLeast(size_t count) {
        std::unique_lock lock(mutex_);
        EXPECT_TRUE(grown_.wait_for(lock, kDeadline, [&] { return values_.size() >= count; }))
            << "expected " << count << ", found " << values_.size();
        return values_;
    }
    size_t size() {
        std::lock_guard lock(mutex_);
        return values_.size();
    }

private:
    std::mutex mutex_;
    std::condition_variable grown_;
    std::vector<T> values_;
};

/// Keeps receiver events as text: "started Name-0", "error Name-0: message - error", "stopped Name-0: message - error".
class RecordedEvents final : public ReceiverEvents {
public:
    void receiverStarted(const ReceiverInfo& info) override { all.add("started " + info.name); }
    void receiverError(const ReceiverInfo& info) override { all.add("error " + text(info)); }
    void receiverStopped(const ReceiverInfo& info) override { all.add("stopped " + text(info)); }

    Growing<std::string> all;

private:
    static std::string text(const ReceiverInfo& info) {
        return info.name + ": " + info.lastErrorMessage + (info.lastError.empty() ? "" : " - " + info.lastError);
    }
};

/// A memory store that tells of each block.
class WatchedStore final : public ReceivedBlockStore {
public:
    std::shared_ptr<const StoredBlock> store(const StreamBlockId& id, BlockPtr block,
                                             const StorageLevel& level) override {
        if (onStore) onStore(id);
        ids.add(id);
        return memory_->store(id, std::move(block), level);
    }
    Growing<StreamBlockId> ids;
    std::function<void(const StreamBlockId&)> onStore;

private:
    std::shared_ptr<ReceivedBlockStore> memory_ = memoryBlockStore();
};

/// A tracker on a manual clock with what it tells.
class TrackerTest : public testing::Test {
protected:
    void SetUp() override { setLogLevel(LogLevel::kOff); }
    void TearDown() override { setLogLevel(LogLevel::kWarn); }

    void makeTracker(SparkConf conf = {}) {
        tracker_ = std::make_unique<ReceiverTracker>(conf, clock_, events_, store_);
    }
    void start(std::shared_ptr<ReceiverBase> receiver, SparkConf conf = {}) {
        makeTracker(std::move(conf));
        tracker_->addReceiver(0, std::move(receiver));
        tracker_->start();
    }
    /// Stops gracefully and returns the blocks of the stream that no batch has had.
    std::vector<ReceivedBlockInfo> finish(int streamId = 0) {
        tracker_->stop(true);
        const Time last(INT64_MAX / 2);
        tracker_->allocateBlocksToBatch(last);
        return tracker_->blocksOfBatch(last, streamId);
    }

    std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>(1000);
    std::shared_ptr<RecordedEvents> events_ = std::make_shared<RecordedEvents>();
    std::shared_ptr<WatchedStore> store_ = std::make_shared<WatchedStore>();
    std::unique_ptr<ReceiverTracker> tracker_;
};

template <class T>
std::vector<T> recordsOf(const std::vector<ReceivedBlockInfo>& infos) {
    std::vector<T> records;
    for (const auto& info : infos) {
        const BlockPtr block = info.load();
        const auto& elements = dynamic_cast<const VectorBlock<T>&>(*block).elements();
        records.insert(records.end(), elements.begin(), elements.end());
    }
    return records;
}

inline std::vector<std::string> linesOf(const std::vector<ReceivedBlockInfo>& infos) {
    std::vector<std::string> lines;
    for (const auto& info : infos) {
        const BlockPtr block = info.load();
        const auto& text = dynamic_cast<const TextBlock&>(*block);
        for (size_t i = 0; i < text.numLines(); ++i) lines.emplace_back(text.line(i));
    }
    return lines;
}

/// What one connection of a scripted server does.
struct Connection {
    enum class End { kClose, kBreak, kStayOpen };
    bool refused = false;
    bool unknownHost = false;
    std::vector<std::string> pieces;
    End end = End::kStayOpen;
};

/// A server that answers each connection by the next entry of a list; afterwards it refuses.
class ScriptedServer {
public:
    explicit ScriptedServer(std::vector<Connection> connections) : state_(std::make_shared<State>()) {
        state_->connections = std::move(connections);
    }

    detail::Connector connector() const {
        return [state = state_](const std::string&, int, std::stop_token stop) -> std::unique_ptr<detail::ByteSource> {
            const size_t index = state->taken++;
            const Connection connection =
                index < state->connections.size() ? state->connections[index] : Connection{true, false, {}, {}};
            state->connects.add(static_cast<int>(index));
            if (connection.refused) throw detail::ConnectException("Connection refused", true);
            if (connection.unknownHost) throw detail::ConnectException("unknown host", false);
            return std::make_unique<Source>(state, connection, std::move(stop));
        };
    }
    /// Waits until `count` connections have been tried.
    void waitForConnects(size_t count) { state_->connects.atLeast(count); }
    /// Waits until a reader has come back for more after the last piece of `count` connections: all before is stored.
    void waitUntilRead(size_t count) { state_->drained.atLeast(count); }

private:
    struct State {
        std::vector<Connection> connections;
        std::atomic<size_t> taken = 0;
        Growing<int> connects;
        Growing<int> drained;
    };
    class Source final : public detail::ByteSource {
    public:
        Source(std::shared_ptr<State> state, Connection connection, std::stop_token stop)
            : state_(std::move(state)), connection_(std::move(connection)), stop_(std::move(stop)) {}
        size_t read(std::span<char> into) override {
            while (next_ < connection_.pieces.size()) {
                std::string& piece = connection_.pieces[next_];
                if (piece.empty()) {
                    ++next_;
                    continue;
                }
                const size_t count = piece.copy(into.data(), into.size());
                piece.erase(0, count);
                return count;
            }
            state_->drained.add(0);
            if (connection_.end == Connection::End::kClose) return 0;
            if (connection_.end == Connection::End::kBreak) throw SparkException("connection reset");
            std::mutex mutex;
            std::unique_lock lock(mutex);
            std::condition_variable_any stopped;
            stopped.wait(lock, stop_, [] { return false; });
            return 0;
        }

    private:
        const std::shared_ptr<State> state_;
        Connection connection_;
        const std::stop_token stop_;
        size_t next_ = 0;
    };

    std::shared_ptr<State> state_;
};

}  // namespace dstream::testing_support
