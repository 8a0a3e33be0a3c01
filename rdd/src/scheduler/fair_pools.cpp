#include "scheduler/fair_pools.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace dstream {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(kBlanks);
    return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

/// As much of XML as such a file needs: elements, attributes, text, comments, the five entities.
class AllocationFile {
public:
    AllocationFile(std::string_view xml, const std::string& origin) : xml_(xml), origin_(origin) {}

    std::vector<PoolSettings> pools() {
        std::string text;
        while (at_ < xml_.size()) {
            const std::size_t tag = std::min(xml_.find('<', at_), xml_.size());
            text += unescaped(xml_.substr(at_, tag - at_));
            at_ = tag;
            if (at_ == xml_.size()) break;
            if (skip("<!--", "-->") || skip("<?", "?>") || skip("<!", ">")) continue;
            const std::string_view inside = trimmed(upTo(">").substr(1));
            if (inside.starts_with('/')) {
                close(trimmed(inside.substr(1)), trimmed(text));
            } else {
                open(inside);
            }
            text.clear();
        }
        if (!open_.empty()) fail("ends inside of <" + open_.back() + ">");
        if (!sawRoot_) fail("has no element");
        return std::move(pools_);
    }

private:
    [[noreturn]] void fail(const std::string& what) const {
        const auto line = 1 + std::count(xml_.begin(), xml_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
        throw IllegalArgumentException(
            "spark.scheduler.allocation.file should hold <allocations> of <pool name=\"…\">; " + origin_ + ", line " +
            std::to_string(line) + ", " + what);
    }
    /// What there is up to `end`, and goes behind it.
    std::string_view upTo(std::string_view end) {
        const std::size_t found = xml_.find(end, at_);
        if (found == xml_.npos) fail("has no '" + std::string(end) + "' any more");
        const std::string_view text = xml_.substr(at_, found - at_);
        at_ = found + end.size();
        return text;
    }
    bool skip(std::string_view begin, std::string_view end) {
        if (!xml_.substr(at_).starts_with(begin)) return false;
        upTo(end);
        return true;
    }
    static std::string unescaped(std::string_view text) {
        constexpr std::pair<std::string_view, char> kEntities[] = {
            {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&amp;", '&'}};
        std::string plain;
        while (!text.empty()) {
            const auto* const entity =
                std::ranges::find_if(kEntities, [&](const auto& known) { return text.starts_with(known.first); });
            plain += entity == std::end(kEntities) ? text.front() : entity->second;
            text.remove_prefix(entity == std::end(kEntities) ? 1 : entity->first.size());
        }
        return plain;
    }

    /// `inside` is what stands between the brackets.
    void open(std::string_view inside) {
        const bool isEmpty = inside.ends_with('/');
        if (isEmpty) inside = trimmed(inside.substr(0, inside.size() - 1));
        const std::string_view name = inside.substr(0, inside.find_first_of(kBlanks));
        if (name.empty()) fail("has an element without a name");
        if (open_.empty() && sawRoot_) fail("has a second element <" + std::string(name) + "> at the top");
        sawRoot_ = true;
        if (name == "pool") {
            pools_.emplace_back();
            pools_.back().name = attribute(inside.substr(name.size()), "name");
        }
        open_.emplace_back(name);
        if (isEmpty) close(name, "");
    }
    std::string attribute(std::string_view list, std::string_view wanted) const {
        for (list = trimmed(list); !list.empty(); list = trimmed(list)) {
            const std::size_t equals = list.find('=');
            const std::string_view name = trimmed(list.substr(0, equals));
            list = equals == list.npos ? "" : trimmed(list.substr(equals + 1));
            if (list.empty() || (list[0] != '"' && list[0] != '\'')) break;
            const std::size_t end = list.find(list[0], 1);
            if (end == list.npos) break;
            if (name == wanted) return unescaped(list.substr(1, end - 1));
            list.remove_prefix(end + 1);
        }
        fail("has a <pool> without a name=\"…\"");
    }

    void close(std::string_view name, std::string_view text) {
        if (open_.empty() || open_.back() != name) fail("has </" + std::string(name) + "> at the wrong place");
        open_.pop_back();
        if (open_.empty() || open_.back() != "pool") return;
        PoolSettings& pool = pools_.back();
        if (name == "weight") setNumber(pool.weight, 1, name, text);
        if (name == "minShare") setNumber(pool.minShare, 0, name, text);
        if (name == "schedulingMode") {
            if (text == "FAIR" || text == "FIFO") {
                pool.fair = text == "FAIR";
            } else {
                warn("schedulingMode", "FIFO or FAIR", text, "FIFO");
            }
        }
    }
    void setNumber(int& number, int least, std::string_view name, std::string_view text) const {
        int value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc() && end == text.data() + text.size() && value >= least) {
            number = value;
        } else {
            warn(name, "a number from " + std::to_string(least) + " on", text, std::to_string(number));
        }
    }
    void warn(std::string_view name, const std::string& expected, std::string_view found,
              const std::string& used) const {
        logMessage(LogLevel::kWarn, "scheduler",
                   origin_ + ": " + std::string(name) + " of pool '" + pools_.back().name + "' should be " + expected +
                       ", found '" + std::string(found) + "'; it is " + used);
    }

    const std::string_view xml_;
    const std::string& origin_;
    std::size_t at_ = 0;
    bool sawRoot_ = false;
    std::vector<std::string> open_;  // elements, outermost first
    std::vector<PoolSettings> pools_;
};

}  // namespace

std::vector<PoolSettings> parseFairPools(std::string_view xml, const std::string& origin) {
    return AllocationFile(xml, origin).pools();
}

}  // namespace dstream
