// Writes page views, always the same ones for a seed: PageViewGenerator. To serve them: ... 1000 | nc -lk 9999
//
//     example_click_stream_generator VIEWS [SEED]
#include "click.hpp"

#include <cstdlib>
#include <iostream>
#include <random>

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: " << argv[0] << " VIEWS [SEED]\n";
        return 2;
    }
    std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
    const auto percent = [&random] { return static_cast<int>(random() % 100); };
    for (long views = std::atol(argv[1]); views > 0; --views) {
        const int page = percent();
        const int zip = percent();
        std::cout << PageView{page < 70   ? "http://foo.com/"
                              : page < 90 ? "http://foo.com/news"
                                          : "http://foo.com/contact",
                              percent() < 95 ? 200 : 404, zip < 50 ? 94709 : 94117, percent() + 1}
                         .toString()
                  << "\n";
    }
}
