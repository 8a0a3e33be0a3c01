// expect: no matching function for call to .*reduceByKey|has no member named .*reduceByKey|constraints not
// satisfied|associated constraints
#include <rdd/rdd.hpp>
void wrong(const dstream::RDD<int>& numbers) {
    numbers.reduceByKey([](int a, int b) { return a + b; });
}
