// expect: Hashable|constraints not satisfied|associated constraints
#include <rdd/rdd.hpp>
struct Unplaced {
    int value;
};
auto wrong(const dstream::RDD<Unplaced>& elements) {
    return elements.distinct();
}
