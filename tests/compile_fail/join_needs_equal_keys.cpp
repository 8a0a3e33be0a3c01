// expect: no matching function for call to .*join
#include <rdd/rdd.hpp>
using Words = dstream::RDD<std::pair<std::string, int>>;
using Numbers = dstream::RDD<std::pair<int, int>>;
auto wrong(const Words& words, const Numbers& numbers) {
    return words.join(numbers);
}
