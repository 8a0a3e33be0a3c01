// Looks at the page views of a site in five ways: PageViewStream.
#include "../example_input.hpp"
#include "click.hpp"

#include <plugins/run.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace dstream;

void pageViewStream(StreamingContext& ssc, const Options& options) {
    const std::string metric = options.getString("metric");
    const auto is = [&metric](const char* name) { return metric == name || metric == "all"; };
    const DStream<PageView> pageViews = inputLines(ssc, options).map(&PageView::fromString);

    // Return a count of views per URL seen in each batch
    if (is("pageCounts")) pageViews.map([](const PageView& view) { return view.url; }).countByValue().print();

    // Return a sliding window of page views per URL in the last ten seconds
    if (is("slidingPageCounts")) {
        pageViews.map([](const PageView& view) { return view.url; })
            .countByValueAndWindow(Seconds(10), Seconds(2))
            .print();
    }

    // Return the rate of error pages (a non 200 status) in each zip code over the last 30 seconds
    if (is("errorRatePerZipCode")) {
        const auto statusesPerZipCode =
            pageViews.window(Seconds(30), Seconds(2))
                .map([](const PageView& view) { return std::pair(view.zipCode, view.status); })
                .groupByKey();
        statusesPerZipCode
            .map([](const auto& zipAndStatuses) {
                const auto& [zip, statuses] = zipAndStatuses;
                const auto errors = std::ranges::count_if(statuses, [](int status) { return status != 200; });
                return std::to_string(zip) + ": " + std::to_string(100 * errors / std::ssize(statuses)) + " % errors";
            })
            .print();
    }

    // Return the number of unique users in the last 15 seconds
    if (is("activeUserCount")) {
        pageViews.window(Seconds(15), Seconds(2))
            .map([](const PageView& view) { return std::pair(view.userID, 1); })
            .groupByKey()
            .count()
            .map([](int64_t count) { return "Unique active users: " + std::to_string(count); })
            .print();
    }

    // An external dataset we want to join to this stream
    if (is("popularUsersSeen")) {
        const auto userList = ssc.sparkContext().parallelize(
            std::vector<std::pair<int, std::string>>{{1, "Patrick Wendell"}, {2, "Reynold Xin"}, {3, "Matei Zaharia"}});
        pageViews.map([](const PageView& view) { return std::pair(view.userID, 1); })
            .foreachRDD([userList](const RDD<std::pair<int, int>>& rdd, Time time) {
                std::set<std::string> names;
                for (const auto& [id, oneAndName] : rdd.join(userList).collect()) names.insert(oneAndName.second);
                std::cout << "Saw these users at " << time.milliseconds() << " ms:";
                for (const std::string& name : names) std::cout << " " << name << ";";
                std::cout << std::endl;
            });
    }
}

DSTREAM_REGISTER_JOB("click_stream", pageViewStream,
                     lineOptions({{"metric", OptionType::kString, "all",
                                   "pageCounts, slidingPageCounts, errorRatePerZipCode, activeUserCount, "
                                   "popularUsersSeen, or all of them"}}))

int main(int argc, char** argv) {
    return runMain(argc, argv, "click_stream");
}
