// expect: no matching function for call to .*sum|constraints not satisfied|associated constraints
#include <rdd/rdd.hpp>
double wrong(const dstream::RDD<std::string>& words) {
    return words.sum();
}
