#include "rdd/listener_bus.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <stdexcept>
#include <thread>
#include <vector>

namespace dstream {
namespace {

using testing::ElementsAre;

struct Recorder {
    virtual ~Recorder() = default;
    virtual void onNumber(int number) { numbers.push_back(number); }
    std::vector<int> numbers;
};

class ListenerBusTest : public testing::Test {
public:
    ListenerBusTest() {
        setLogSink([](LogLevel, std::string_view, std::string_view) {});
    }
    ~ListenerBusTest() override { setLogSink({}); }

protected:
    void post(int number) {
        bus.post([number](Recorder& listener) { listener.onNumber(number); });
    }

    ListenerBus<Recorder> bus{"test", 4};
    std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
};

TEST_F(ListenerBusTest, DeliversInOrderToEveryListener) {
    const auto second = std::make_shared<Recorder>();
    post(0);  // nobody listens yet
    bus.addListener(recorder);
    post(1);
    ASSERT_TRUE(bus.waitUntilEmpty());
    bus.addListener(second);
    post(2);
    post(3);
    ASSERT_TRUE(bus.waitUntilEmpty());
    bus.removeListener(recorder);
    post(4);
    bus.stop();
    EXPECT_THAT(recorder->numbers, ElementsAre(1, 2, 3));
    EXPECT_THAT(second->numbers, ElementsAre(2, 3, 4));
    EXPECT_EQ(bus.droppedEvents(), 0u);
}

TEST_F(ListenerBusTest, AnEventPostedForLaterComesWithTheNextOneInOrder) {
    bus.addListener(recorder);
    const auto postLater = [this](int number) {
        bus.post([number](Recorder& listener) { listener.onNumber(number); }, Wake::kLater);
    };
    postLater(1);
    post(2);
    ASSERT_TRUE(bus.waitUntilEmpty());
    EXPECT_THAT(recorder->numbers, ElementsAre(1, 2));
    postLater(3);  // who waits for all events does not wait for another one
    ASSERT_TRUE(bus.waitUntilEmpty());
    EXPECT_THAT(recorder->numbers, ElementsAre(1, 2, 3));
    postLater(4);
    bus.stop();
    EXPECT_THAT(recorder->numbers, ElementsAre(1, 2, 3, 4));
}

TEST_F(ListenerBusTest, EventsThatKeepComingLoseNothingAndKeepTheirOrder) {
    ListenerBus<Recorder> wide("wide", 10'000);
    wide.addListener(recorder);
    std::vector<int> expected;
    for (int number = 0; number < 3000; ++number) {
        expected.push_back(number);
        wide.post([number](Recorder& listener) { listener.onNumber(number); });
        if (number % 10 == 0) std::this_thread::yield();
        if (number % 1000 == 0) {
            ASSERT_TRUE(wide.waitUntilEmpty());  // does not wait for others to come
            EXPECT_EQ(recorder->numbers, expected);
        }
    }
    wide.stop();
    EXPECT_EQ(recorder->numbers, expected);
}

TEST_F(ListenerBusTest, AFailingListenerHarmsNobodyElse) {
    struct Failing : Recorder {
        void onNumber(int) override { throw std::runtime_error("no"); }
    };
    bus.addListener(std::make_shared<Failing>());
    bus.addListener(recorder);
    post(1);
    post(2);
    bus.stop();
    EXPECT_THAT(recorder->numbers, ElementsAre(1, 2));
    EXPECT_EQ(bus.failedEvents(), 2u);
}

TEST_F(ListenerBusTest, DropsAndCountsWhatDoesNotFit) {
    struct Slow : Recorder {
        void onNumber(int number) override {
            Recorder::onNumber(number);
            if (number == 0) {
                entered.count_down();
                gate.wait();
            }
        }
        std::latch entered{1};
        std::latch gate{1};
    };
    const auto slow = std::make_shared<Slow>();
    bus.addListener(slow);
    post(0);
    slow->entered.wait();
    for (int number = 1; number <= 7; ++number) post(number);
    EXPECT_EQ(bus.droppedEvents(), 3u);
    EXPECT_FALSE(bus.waitUntilEmpty(std::chrono::milliseconds(0)));
    slow->gate.count_down();
    bus.stop();
    EXPECT_THAT(slow->numbers, ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(ListenerBusTest, KnowsItsOwnThreadAndRefusesToWaitThere) {
    struct Curious : Recorder {
        explicit Curious(ListenerBus<Recorder>& target) : bus(target) {}
        void onNumber(int) override {
            inside = bus.onListenerThread();
            EXPECT_THROW(bus.waitUntilEmpty(), IllegalStateException);
            EXPECT_THROW(bus.stop(), IllegalStateException);
        }
        ListenerBus<Recorder>& bus;
        bool inside = false;
    };
    const auto curious = std::make_shared<Curious>(bus);
    bus.addListener(curious);
    post(1);
    bus.stop();
    EXPECT_TRUE(curious->inside);
    EXPECT_FALSE(bus.onListenerThread());
}

TEST_F(ListenerBusTest, AListenerMayTakeListenersOffAndPutOthersOn) {
    struct Changing : Recorder {
        explicit Changing(ListenerBus<Recorder>& target) : bus(target) {}
        void onNumber(int number) override {
            Recorder::onNumber(number);
            bus.removeListener(self);
            bus.addListener(next);
            self.reset();
        }
        ListenerBus<Recorder>& bus;
        std::shared_ptr<Recorder> self;
        std::shared_ptr<Recorder> next;
    };
    auto changing = std::make_shared<Changing>(bus);
    changing->self = changing;
    changing->next = recorder;
    const auto last = std::make_shared<Recorder>();
    bus.addListener(std::move(changing));
    bus.addListener(last);
    post(1);
    post(2);
    bus.stop();
    EXPECT_THAT(recorder->numbers, ElementsAre(2));
    EXPECT_THAT(last->numbers, ElementsAre(1, 2));
}

TEST_F(ListenerBusTest, IgnoresEverythingAfterStop) {
    bus.addListener(recorder);
    bus.stop();
    bus.stop();
    post(1);
    bus.addListener(std::make_shared<Recorder>());
    EXPECT_TRUE(bus.waitUntilEmpty());
    EXPECT_TRUE(recorder->numbers.empty());
}

}  // namespace
}  // namespace dstream
