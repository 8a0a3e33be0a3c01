#include "rdd/to_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace dstream::detail {

namespace {

/// The shortest decimal that reads back: 0.d1d2d3... times 10^exponent, no zeros at the end.
struct Decimal {
    std::string digits;
    int exponent = 0;
};

template <class T>
Decimal shortest(T magnitude) {
    char text[32] = {};  // to_chars writes no terminator, atoi needs one
    const char* const end = std::to_chars(text, text + sizeof text, magnitude, std::chars_format::scientific).ptr;
    const char* const mark = std::find<const char*>(text, end, 'e');
    Decimal result;
    std::copy_if<const char*>(text, mark, std::back_inserter(result.digits), [](char c) { return c != '.'; });
    result.exponent = std::atoi(mark + 1) + 1;
    while (result.digits.size() > 1 && result.digits.back() == '0') result.digits.pop_back();
    return result;
}

/// Returns `digits` with the point after the first `whole` of them; both sides get at least one digit.
std::string withPoint(std::string digits, int whole) {
    if (whole <= 0) {
        digits.insert(0, static_cast<size_t>(1 - whole), '0');
        whole = 1;
    }
    if (static_cast<int>(digits.size()) <= whole) digits.append(whole + 1 - digits.size(), '0');
    digits.insert(static_cast<size_t>(whole), 1, '.');
    return digits;
}

bool appendSpecial(std::string& out, double value) {
    if (std::isnan(value)) {
        out += "NaN";
        return true;
    }
    if (std::signbit(value)) out += '-';
    if (!std::isinf(value)) return false;
    out += "Infinity";
    return true;
}

template <class T>
void appendShortest(std::string& out, T value) {
    if (appendSpecial(out, value)) return;
    const T magnitude = std::abs(value);
    if (magnitude == 0) {
        out += "0.0";
        return;
    }
    Decimal decimal = shortest(magnitude);
    if (magnitude >= T(1e-3) && magnitude < T(1e7)) {
        out += withPoint(std::move(decimal.digits), decimal.exponent);
    } else {
        out += withPoint(std::move(decimal.digits), 1) + "E" + std::to_string(decimal.exponent - 1);
    }
}

}  // namespace

void appendStreamed(std::string& out, const void* value, void (*write)(std::ostream&, const void*)) {
    std::ostringstream stream;
    write(stream, value);
    out += stream.view();
}

void appendReal(std::string& out, double value) {
    appendShortest(out, value);
}
void appendReal(std::string& out, float value) {
    appendShortest(out, value);
}

std::string formatFixed(double value, int decimals) {
    std::string out;
    if (appendSpecial(out, value)) return out;
    Decimal decimal = value == 0 ? Decimal{"0", 0} : shortest(std::abs(value));
    // Digits wanted counted from the first one; half rounds up, as in the reference.
    const int wanted = decimal.exponent + decimals;
    if (wanted < 0) {
        decimal = {"0", 0};
    } else if (wanted < static_cast<int>(decimal.digits.size())) {
        const bool up = decimal.digits[static_cast<size_t>(wanted)] >= '5';
        decimal.digits.resize(static_cast<size_t>(wanted));
        if (up) {
            int place = wanted - 1;
            while (place >= 0 && decimal.digits[static_cast<size_t>(place)] == '9') {
                decimal.digits[static_cast<size_t>(place--)] = '0';
            }
            if (place >= 0) {
                ++decimal.digits[static_cast<size_t>(place)];
            } else {
                decimal.digits.insert(0, 1, '1');
                ++decimal.exponent;
            }
        }
    }
    std::string text = withPoint(std::move(decimal.digits), decimal.exponent);
    const size_t size = text.find('.') + 1 + static_cast<size_t>(decimals);
    text.resize(std::max(size, text.size()), '0');
    text.resize(decimals == 0 ? size - 1 : size);
    return out + text;
}

}  // namespace dstream::detail
