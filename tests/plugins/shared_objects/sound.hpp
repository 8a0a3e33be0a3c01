#pragma once

#include <cstdint>
#include <string>

/// A record that plugins and the program share by this header.
struct Sound {
    int64_t time = 0;
    double loudness = 0;
    std::string place;
    bool operator==(const Sound&) const = default;
};
