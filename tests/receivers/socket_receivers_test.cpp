#include "receivers/socket_receivers.hpp"

#include "receiver_test_support.hpp"
#include "receivers/text_receiver.hpp"
#include "support/sanitizers.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <string_view>
#include <thread>

namespace dstream {
namespace {

using namespace std::string_literals;
using boost::asio::ip::tcp;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing_support::Connection;
using testing_support::linesOf;
using testing_support::recordsOf;
using testing_support::ScriptedServer;

using End = Connection::End;

Connection sending(std::vector<std::string> pieces, End end = End::kStayOpen) {
    return {false, false, std::move(pieces), end};
}
Connection refused() {
    return {true, false, {}, {}};
}

class SocketReceiversTest : public testing_support::TrackerTest {
protected:
    std::shared_ptr<Receiver<std::string>> textFrom(const ScriptedServer& server) {
        return makeSocketTextReceiver("anywhere", 1, StorageLevel::MEMORY_ONLY, server.connector());
    }
};

TEST_F(SocketReceiversTest, Row22KeepsGarbageAndDeliversAnUnterminatedLastLineWhereverTheBytesAreCut) {
    const std::string text = "a\r\n\0\xff\r\rb\n\nlast\xc3"s;
    const std::vector<std::string> expected = {"a", "\0\xff"s, "", "b", "", "last\xc3"};
    for (size_t cut = 0; cut <= text.size(); ++cut) {
        ScriptedServer server({sending({text.substr(0, cut), text.substr(cut)}, End::kClose)});
        start(textFrom(server));
        EXPECT_EQ(
            events_->all.atLeast(2 * (cut + 1)).back(),
            "stopped SocketReceiver-0: Restarting receiver with delay 2000 ms: Socket data stream had no more data");
        EXPECT_EQ(linesOf(finish()), expected) << cut;
    }
}

TEST_F(SocketReceiversTest, MakesOneTextBlockOfAnInterval) {
    ScriptedServer server({sending({"a\nb\nc", "c\nd"})});
    start(textFrom(server));
    server.waitUntilRead(1);
    ASSERT_TRUE(clock_->waitUntilWaiting(1200));
    clock_->setTime(1200);
    store_->ids.atLeast(1);
    const auto blocks = finish();
    ASSERT_EQ(blocks.size(), 1U);
    EXPECT_THAT(linesOf(blocks), ElementsAre("a", "b", "cc"));
    EXPECT_EQ(blocks[0].numRecords, 3);
    EXPECT_EQ(blocks[0].blockId.toString(), "input-0-1000");
}

TEST_F(SocketReceiversTest, Row24ConnectsAgainWithDelayAndJitterWhileNobodyListens) {
    ScriptedServer server({refused(), refused(), sending({"up\n"}, End::kBreak), sending({"again\n"})});
    start(textFrom(server));
    server.waitForConnects(1);
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(3000);
    server.waitForConnects(2);
    const std::vector<std::string> events = events_->all.atLeast(4);
    const std::string stopped = "stopped SocketReceiver-0: Restarting receiver with delay ";
    const std::string why = " ms: Error connecting to anywhere:1 - Connection refused";
    EXPECT_EQ(events[1], stopped + "2000" + why);
    ASSERT_THAT(events[3], AllOf(StartsWith(stopped), EndsWith(why)));
    const int64_t delayMs = std::stoll(events[3].substr(stopped.size()));
    EXPECT_GE(delayMs, 2000);
    EXPECT_LE(delayMs, 2200);
    ASSERT_TRUE(clock_->waitUntilWaiting(3000 + delayMs));
    clock_->setTime(3000 + delayMs);
    server.waitUntilRead(1);
    EXPECT_THAT(events_->all.atLeast(6)[5], HasSubstr("delay 2000 ms: Error receiving data - connection reset"));
    ASSERT_TRUE(clock_->waitUntilWaiting(5000 + delayMs));
    clock_->setTime(5000 + delayMs);
    server.waitUntilRead(2);
    EXPECT_THAT(linesOf(finish()), ElementsAre("up", "again"));
    EXPECT_EQ(tracker_->metrics(0).restarts, 3);
}

TEST_F(SocketReceiversTest, EndsWithAnErrorAndIsRelaunchedWhenTheAddressIsWrong) {
    ScriptedServer server({Connection{false, true, {}, {}}, sending({"found\n"})});
    start(textFrom(server));
    EXPECT_EQ(events_->all.atLeast(2)[1], "stopped SocketReceiver-0: Error connecting to anywhere:1 - unknown host");
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(3000);
    server.waitUntilRead(1);
    EXPECT_THAT(linesOf(finish()), ElementsAre("found"));
}

TEST_F(SocketReceiversTest, DropsTheUnfinishedLineOfAConnectionThatBroke) {
    ScriptedServer server({sending({"whole\nhal"}, End::kBreak), sending({"new\n"})});
    start(textFrom(server));
    events_->all.atLeast(2);
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(3000);
    server.waitUntilRead(1);
    server.waitUntilRead(2);
    EXPECT_THAT(linesOf(finish()), ElementsAre("whole", "new"));
}

TEST_F(SocketReceiversTest, Row23SkipsALineThatIsTooLongCountsItAndReportsIt) {
    ScriptedServer server({sending({"short\n", std::string(1500, 'x'), std::string(1500, 'x'), "x\nnext\n"})});
    start(textFrom(server), SparkConf().set("dstream.socket.maxLineBytes", "1000"));
    server.waitUntilRead(1);
    EXPECT_EQ(events_->all.atLeast(2)[1],
              "error SocketReceiver-0: 1 line(s) longer than dstream.socket.maxLineBytes were dropped");
    EXPECT_THAT(linesOf(finish()), ElementsAre("short", "next"));
    EXPECT_EQ(tracker_->metrics(0).longLines, 1);
}

TEST_F(SocketReceiversTest, Row23ReconnectsAfterALineThatIsTooLongWhenAskedTo) {
    ScriptedServer server({sending({"short\n", std::string(1500, 'x'), "never read"}), sending({"fresh\n"})});
    start(textFrom(server),
          SparkConf().set("dstream.socket.maxLineBytes", "1000").set("dstream.socket.onLongLine", "reconnect"));
    EXPECT_THAT(events_->all.atLeast(3)[2], HasSubstr("reconnecting"));
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(3000);
    server.waitUntilRead(1);
    EXPECT_THAT(linesOf(finish()), ElementsAre("short", "fresh"));
}

TEST_F(SocketReceiversTest, RefusesWrongSettings) {
    ScriptedServer server({});
    EXPECT_THROW(start(textFrom(server), SparkConf().set("dstream.socket.maxLineBytes", "0")),
                 IllegalArgumentException);
    EXPECT_THROW(makeSocketTextReceiver("anywhere", 65536), IllegalArgumentException);
    start(textFrom(server), SparkConf().set("dstream.socket.onLongLine", "cut"));
    EXPECT_THAT(events_->all.atLeast(2)[1], HasSubstr("dstream.socket.onLongLine must be skip or reconnect: cut"));
}

TEST_F(SocketReceiversTest, CountsLinesForTheRateLimit) {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += std::to_string(i) + "\r\n";
    ScriptedServer server({sending({text})});
    clock_->setTime(1005);
    start(textFrom(server), SparkConf().set("spark.streaming.receiver.maxRate", "100"));
    for (int64_t time = 1015; time < 2000; time += 10) {  // one line every 10 ms
        ASSERT_TRUE(clock_->waitUntilWaiting(time));
        if (const int64_t tick = time / 200 * 200; tick > time - 10) {
            ASSERT_TRUE(clock_->waitUntilWaiting(tick));
            clock_->setTime(tick);
            ASSERT_TRUE(clock_->waitUntilWaiting(tick + 200));
        }
        clock_->setTime(time);
    }
    // The stop lets the rest of the piece in without waiting.
    const auto blocks = finish();
    const std::vector<std::string> lines = linesOf(blocks);
    EXPECT_EQ(lines.size(), 1000U);
    EXPECT_EQ(lines.back(), "999");
    EXPECT_EQ(tracker_->metrics(0).records, 1000);
    int64_t before1800 = 0;
    for (const auto& info : blocks) before1800 += info.blockId.uniqueId < 1700 ? *info.numRecords : 0;
    EXPECT_EQ(before1800, 80);
}

TEST_F(SocketReceiversTest, StoresSingleLinesOfATextReceiverToo) {
    struct Lines final : TextReceiver {
        Lines() : TextReceiver(StorageLevel::MEMORY_ONLY) {}
        void onStart() override {
            storeText("a\nb");
            endText();
            store("c");
            storeText("half");
            dropPartialLine();
            store("d");
            stored.set_value();
        }
        void onStop() override {}
        std::promise<void> stored;
    };
    const auto receiver = std::make_shared<Lines>();
    start(receiver);
    receiver->stored.get_future().wait();
    EXPECT_THAT(linesOf(finish()), ElementsAre("a", "b", "c", "d"));
}

TEST_F(SocketReceiversTest, HandsTheBytesToAConverter) {
    const auto numbers = [](std::istream& stream) {
        return Iterator<int>(fromNext([&stream] {
            int number = 0;
            return stream >> number ? std::optional(number) : std::nullopt;
        }));
    };
    ScriptedServer server({sending({"1 2", "3 4", " 5"}, End::kClose), sending({"6 "}, End::kClose)});
    start(makeSocketReceiver<int>("anywhere", 1, numbers, StorageLevel::MEMORY_ONLY, server.connector()));
    EXPECT_THAT(events_->all.atLeast(2)[1], HasSubstr("Socket data stream had no more data"));
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(3000);
    events_->all.atLeast(4);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1, 23, 4, 5, 6));
}

TEST_F(SocketReceiversTest, RestartsWhenAConverterThrowsOrItsConnectionBreaks) {
    const auto letters = [](std::istream& stream) {
        return Iterator<char>(fromNext([&stream] {
            const int letter = stream.get();
            if (letter == '!') throw std::runtime_error("unexpected letter");
            return letter < 0 ? std::nullopt : std::optional(static_cast<char>(letter));
        }));
    };
    ScriptedServer server({sending({"a!"}), sending({"b"}, End::kBreak)});
    start(makeSocketReceiver<char>("anywhere", 1, letters, StorageLevel::MEMORY_ONLY, server.connector()));
    EXPECT_THAT(events_->all.atLeast(2)[1], HasSubstr("Error receiving data - unexpected letter"));
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(3000);
    EXPECT_THAT(events_->all.atLeast(4)[3], HasSubstr("Error receiving data - connection reset"));
}

TEST_F(SocketReceiversTest, StoresEachRawFrameAsABlock) {
    const std::string frames = "\0\0\0\3abc\0\0\0\0\0\0\0\1d"s;
    for (size_t cut = 0; cut <= frames.size(); ++cut) {
        ScriptedServer server({sending({frames.substr(0, cut), frames.substr(cut)}, End::kClose)});
        start(makeRawSocketReceiver<int>("anywhere", 1, StorageLevel::MEMORY_ONLY, server.connector()));
        EXPECT_EQ(events_->all.atLeast(2 * (cut + 1)).back(),
                  "stopped RawNetworkReceiver-0: Error receiving data - the connection ended; expected another frame");
        std::vector<std::string> payloads;
        for (const auto& info : finish()) {
            payloads.emplace_back(dynamic_cast<const BytesBlock&>(*info.load()).bytes());
        }
        EXPECT_THAT(payloads, ElementsAre("abc", "", "d"));
    }
}

TEST_F(SocketReceiversTest, RefusesRawFramesThatAreTooLongOrCutShort) {
    ScriptedServer server(
        {sending({"\xff\xff\xff\xff"}), sending({"\x7f\xff\xff\xff"}), sending({"\0\0\0\5ab"s}, End::kClose)});
    start(makeRawSocketReceiver<int>("anywhere", 1, StorageLevel::MEMORY_ONLY, server.connector()),
          SparkConf().set("dstream.receiver.maxBufferedBytes", "1m"));
    const std::vector<std::string> expected = {"found length -1", "found length 2147483647",
                                               "within a frame of 5 bytes"};
    for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_THAT(events_->all.atLeast(2 * (i + 1))[2 * i + 1], HasSubstr(expected[i]));
        const int64_t relaunch = 1000 + 2000 * static_cast<int64_t>(i + 1);
        ASSERT_TRUE(clock_->waitUntilWaiting(relaunch));
        clock_->setTime(relaunch);
    }
    EXPECT_THAT(finish(), IsEmpty());
}

/// A server on a free port of the loopback interface.
class TcpReceiverTest : public SocketReceiversTest {
protected:
    int port() const { return acceptor_.local_endpoint().port(); }
    std::shared_ptr<Receiver<std::string>> receiver() {
        return makeSocketTextReceiver("127.0.0.1", port(), StorageLevel::MEMORY_ONLY);
    }
    boost::asio::io_context io_;
    tcp::acceptor acceptor_{io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)};
};

TEST_F(TcpReceiverTest, ReceivesAllLinesOfAServerThatCloses) {
    std::string text;
    for (int i = 0; i < 200'000; ++i) text += "line " + std::to_string(i) + "\n";
    start(receiver());
    {
        tcp::socket socket = acceptor_.accept();
        boost::asio::write(socket, boost::asio::buffer(text));
    }
    EXPECT_THAT(events_->all.atLeast(2)[1], HasSubstr("no more data"));
    const auto lines = linesOf(finish());
    ASSERT_EQ(lines.size(), 200'000U);
    EXPECT_EQ(lines[199'999], "line 199999");
}

TEST_F(TcpReceiverTest, StopsAtOnceWhileItWaitsForBytes) {
    start(receiver());
    const tcp::socket socket = acceptor_.accept();
    tracker_->stop(true);
    EXPECT_EQ(events_->all.atLeast(2)[1], "stopped SocketReceiver-0: Stopped by driver");
}

TEST_F(TcpReceiverTest, Row24FindsTheServerAgainAfterItWasDown) {
    const tcp::endpoint endpoint = acceptor_.local_endpoint();
    start(receiver());
    { tcp::socket first = acceptor_.accept(); }
    acceptor_.close();
    acceptor_.open(endpoint.protocol());
    acceptor_.set_option(tcp::acceptor::reuse_address(true));
    acceptor_.bind(endpoint);  // keeps the port from others while nobody listens on it
    events_->all.atLeast(2);
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(3000);
    EXPECT_THAT(events_->all.atLeast(4)[3], HasSubstr("Connection refused"));
    acceptor_.listen();
    ASSERT_TRUE(clock_->waitUntilWaiting(5000));
    clock_->setTime(5000);
    tcp::socket second = acceptor_.accept();
    boost::asio::write(second, boost::asio::buffer("back\n"s));
    second.close();
    events_->all.atLeast(6);
    EXPECT_THAT(linesOf(finish()), ElementsAre("back"));
}

TEST_F(TcpReceiverTest, EndsWithAnErrorForAHostThatDoesNotExist) {
    start(makeSocketTextReceiver("no such host", port(), StorageLevel::MEMORY_ONLY));
    EXPECT_THAT(events_->all.atLeast(2)[1], HasSubstr("expected the address of a host, found no such host"));
}

int64_t residentKiB() {
    std::ifstream status("/proc/self/status");
    std::string line;
    while (std::getline(status, line) && !line.starts_with("VmRSS:")) {
    }
    return std::stoll(line.substr(6));
}

TEST_F(TcpReceiverTest, Row23AnEndlessLineTakesNoMemory) {
    start(receiver());
    tcp::socket socket = acceptor_.accept();
    const std::string megabyte(1 << 20, 'x');
    for (int i = 0; i < 8; ++i) boost::asio::write(socket, boost::asio::buffer(megabyte));
    const int64_t before = residentKiB();
    for (int i = 0; i < 256; ++i) boost::asio::write(socket, boost::asio::buffer(megabyte));
    EXPECT_LT(residentKiB(), before + (testsupport::kSanitized ? 128 : 4) * 1024);
    boost::asio::write(socket, boost::asio::buffer("\nend\n"s));
    socket.close();
    events_->all.atLeast(3);
    EXPECT_THAT(linesOf(finish()), ElementsAre("end"));
    EXPECT_EQ(tracker_->metrics(0).longLines, 1);
}

}  // namespace
}  // namespace dstream
