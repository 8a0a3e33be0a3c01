// A receiver of your own, and a job that uses it. Rename what is called "my".
#include <dstream/dstream.hpp>

#include <plugins/registry.hpp>

#include <cstdint>
#include <iostream>
#include <stop_token>
#include <string>
#include <thread>

using namespace dstream;

namespace {

class MyReceiver : public Receiver<std::string> {
public:
    static OptionSchema options() {
        return {{"greeting", OptionType::kString, "hello", "what is received"},
                {"times", OptionType::kInt, "3", "how often"}};
    }
    explicit MyReceiver(const Options& options)
        : Receiver(StorageLevel::MEMORY_ONLY),
          greeting_(options.getString("greeting")),
          times_(options.getInt("times")) {}

    void onStart() override {
        thread_ = std::jthread([this](std::stop_token stop) {
            try {
                // Read from your source here, until stop.stop_requested().
                while (!stop.stop_requested() && sent_ < times_) {
                    store(greeting_ + " " + std::to_string(++sent_));
                }
            } catch (...) {
                if (!stop.stop_requested()) restart("my source failed", std::current_exception());
            }
        });
    }
    void onStop() override { thread_ = {}; }  // asks the thread to end, and waits

private:
    const std::string greeting_;
    const int64_t times_;
    int64_t sent_ = 0;
    std::jthread thread_;
};

/// Prints what is received, and ends when all of it has come.
void myJob(StreamingContext& ssc, const Options& options) {
    auto received = pluginStream<std::string>(
        ssc, "my_receiver",
        {{"greeting", options.getString("greeting")}, {"times", std::to_string(options.getInt("times"))}});
    received.foreachRDD([ssc, missing = options.getInt("times")](const RDD<std::string>& rdd, Time) mutable {
        for (const std::string& record : rdd.collect()) {
            std::cout << record << std::endl;
            if (--missing == 0) ssc.stop(true, true);
        }
    });
}

}  // namespace

DSTREAM_REGISTER_RECEIVER("my_receiver", MyReceiver)
DSTREAM_REGISTER_JOB("my_job", myJob, MyReceiver::options())
