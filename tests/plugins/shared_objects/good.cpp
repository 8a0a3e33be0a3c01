// A plugin with a receiver for each kind of record, a sink and jobs.
#include "sound.hpp"
#include <dstream/testkit.hpp>

#include <plugins/registry.hpp>

#include <csignal>
#include <cstdint>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace dstream;

namespace {

/// Stores one block when it is started.
template <class T>
class Once : public Receiver<T> {
public:
    explicit Once(std::vector<T> records) : Receiver<T>(StorageLevel::MEMORY_ONLY), records_(std::move(records)) {}
    void onStart() override {
        this->store(records_);
        std::cout << "stored" << std::endl;
    }
    void onStop() override {}

private:
    std::vector<T> records_;
};

class Texts : public Once<std::string> {
public:
    static OptionSchema options() {
        return {{"text", OptionType::kString, kRequired, "what is stored"},
                {"times", OptionType::kInt, "1", "how often"}};
    }
    explicit Texts(const Options& options)
        : Once(std::vector<std::string>(static_cast<std::size_t>(options.getInt("times")), options.getString("text"))) {
    }
};

class Pairs : public Once<std::pair<std::string, std::string>> {
public:
    Pairs() : Once(std::vector{std::pair<std::string, std::string>("key", "value")}) {}
};

class Bytes : public Once<std::vector<std::byte>> {
public:
    Bytes() : Once(std::vector<std::vector<std::byte>>{{std::byte{0}, std::byte{255}}}) {}
};

class Sounds : public Once<Sound> {
public:
    Sounds() : Once(std::vector{Sound{7, 0.5, "hall"}}) {}
};

/// Lets an exception out of its thread, which ends a C++ program.
class Escapes : public Receiver<int> {
public:
    Escapes() : Receiver(StorageLevel::MEMORY_ONLY) {}
    void onStart() override {
        thread_ = std::jthread([] { throw std::runtime_error("nobody catches this"); });
    }
    void onStop() override { thread_ = {}; }

private:
    std::jthread thread_;
};

/// Cannot be made.
class Throws : public Once<std::string> {
public:
    Throws() : Once(std::vector<std::string>()) { throw std::runtime_error("the device is on fire"); }
};

/// Prints the records of a part when it is committed.
class Printer : public TransactionalSink<std::string> {
public:
    static OptionSchema options() { return {{"before", OptionType::kString, "> ", "is printed before each record"}}; }
    explicit Printer(const Options& options) : before_(options.getString("before")) {}
    std::unique_ptr<SinkTransaction<std::string>> begin(const SinkPart&) override {
        return std::make_unique<Transaction>(before_);
    }

private:
    class Transaction : public SinkTransaction<std::string> {
    public:
        explicit Transaction(std::string before) : before_(std::move(before)) {}
        void write(const std::string& record) override { text_ += before_ + record + "\n"; }
        void commit() override { std::cout << text_ << std::flush; }

    private:
        const std::string before_;
        std::string text_;
    };
    const std::string before_;
};

void print(StreamingContext& ssc, const Options&) {
    testkit::batches<std::string>(ssc, {{"one", "two"}})
        .saveToSink("lines", makeSink<std::string>("printer", {{"before", "- "}}));
}

/// Stores a record for each batch interval that it sees.
void count(StreamingContext& ssc, const Options& options) {
    std::vector<std::vector<std::string>> batches(100, {options.getString("word")});
    testkit::batches<std::string>(ssc, batches).foreachRDD([](const RDD<std::string>& rdd, Time time) {
        std::cout << time.milliseconds() << ": " << rdd.count() << std::endl;
    });
}

void texts(StreamingContext& ssc, const Options&) {
    pluginStream<std::string>(ssc, "texts", {{"text", "hello"}, {"times", "3"}})
        .foreachRDD([](const RDD<std::string>& rdd, Time) {
            if (const int64_t found = rdd.count(); found > 0) std::cout << "received " << found << std::endl;
        });
}

void escape(StreamingContext& ssc, const Options&) {
    pluginStream<int>(ssc, "escapes").count().print();
}

void fail(StreamingContext& ssc, const Options&) {
    testkit::batches<int>(ssc, {{1}}).foreachRDD([](const RDD<int>& rdd, Time) {
        rdd.foreach ([](int) { throw std::runtime_error("no such room"); });
    });
}

/// Crashes when the second batch has completed, before anybody else hears of that.
class Crash : public StreamingListener {
    void onBatchCompleted(const StreamingListenerBatchCompleted& event) override {
        if (event.batchInfo.batchTime == Time(2000)) std::raise(SIGSEGV);
    }
};

void crash(StreamingContext& ssc, const Options& options) {
    ssc.addStreamingListener(std::make_shared<Crash>());
    count(ssc, options);
}

}  // namespace

DSTREAM_REGISTER_RECEIVER("texts", Texts)
DSTREAM_REGISTER_RECEIVER("pairs", Pairs)
DSTREAM_REGISTER_RECEIVER("bytes", Bytes)
DSTREAM_REGISTER_RECEIVER("sounds", Sounds)
DSTREAM_REGISTER_RECEIVER("throws", Throws)
DSTREAM_REGISTER_RECEIVER("escapes", Escapes)
DSTREAM_REGISTER_SINK("printer", Printer)
DSTREAM_REGISTER_JOB("print", print)
DSTREAM_REGISTER_JOB("count", count, {"word", OptionType::kString, "w", "what is counted"})
DSTREAM_REGISTER_JOB("texts", texts)
DSTREAM_REGISTER_JOB("escape", escape)
DSTREAM_REGISTER_JOB("fail", fail)
DSTREAM_REGISTER_JOB("crash", crash, {"word", OptionType::kString, "w", "what is counted"})
