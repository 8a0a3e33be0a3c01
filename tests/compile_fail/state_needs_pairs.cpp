// expect: no matching function for call to .*updateStateByKey|constraints not satisfied|associated constraints
#include <dstream/dstream.hpp>
auto wrong(const dstream::DStream<int>& numbers) {
    return numbers.updateStateByKey<int>([](std::vector<int>, std::optional<int> state) { return state; });
}
