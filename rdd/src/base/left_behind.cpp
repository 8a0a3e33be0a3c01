#include "rdd/detail/left_behind.hpp"

#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

namespace dstream::detail {
namespace {

class LeftBehind {
public:
    void add(std::shared_ptr<void> object, std::function<bool()> hasEnded) {
        release();
        const std::lock_guard lock(mutex_);
        entries_.push_back({std::move(object), std::move(hasEnded)});
    }
    void release() {
        std::vector<Entry> entries;
        {
            const std::lock_guard lock(mutex_);
            entries.swap(entries_);
        }
        std::erase_if(entries, [](const Entry& entry) { return entry.hasEnded(); });
        const std::lock_guard lock(mutex_);
        entries_.insert(entries_.end(), std::make_move_iterator(entries.begin()),
                        std::make_move_iterator(entries.end()));
    }

private:
    struct Entry {
        std::shared_ptr<void> object;
        std::function<bool()> hasEnded;
    };
    std::mutex mutex_;  // guards entries_
    std::vector<Entry> entries_;
};

/// Never destroyed: waiting for what has not ended would never end.
LeftBehind& leftBehind() {
    static auto* const all = new LeftBehind;
    return *all;
}

struct AtExit {
    ~AtExit() { leftBehind().release(); }
};

}  // namespace

void leaveBehind(std::shared_ptr<void> object, std::function<bool()> hasEnded) {
    static const AtExit atExit;
    leftBehind().add(std::move(object), std::move(hasEnded));
}

void releaseLeftBehind() {
    leftBehind().release();
}

}  // namespace dstream::detail
