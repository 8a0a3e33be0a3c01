// The limit of W10: events are drawn by two threads, routed to the owner of their key, and each yields its key's new
// sum.
//   limit_keyed_sum [reps=20]     batches of 1,000,000 events over 1,000,000 keys
#include "limit.hpp"

#include <barrier>
#include <cstdlib>

namespace {

struct Event {
    u64 key;
    int64_t value;
};

class Sums {
public:
    int64_t add(u64 key, int64_t value) {
        if (used_ * 2 >= slots_.size()) grow();
        Slot& slot = find(key);
        if (slot.key == kFree) {
            slot.key = key;
            ++used_;
        }
        return slot.sum += value;
    }

private:
    static constexpr u64 kFree = ~0ull;
    struct Slot {
        u64 key = kFree;
        int64_t sum = 0;
    };
    Slot& find(u64 key) {
        const std::size_t mask = slots_.size() - 1;
        std::size_t i = static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ull) >> 20) & mask;
        while (slots_[i].key != kFree && slots_[i].key != key) i = (i + 1) & mask;
        return slots_[i];
    }
    void grow() {
        const auto old = std::move(slots_);
        slots_.assign(old.size() * 2, {});
        for (const Slot& slot : old)
            if (slot.key != kFree) find(slot.key) = slot;
    }
    std::vector<Slot> slots_{1 << 10};
    std::size_t used_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    const u64 N = 1000000, K = 1000000;
    std::vector<Event> box[2][2], out[2];
    Sums sums[2];
    u64 b = 0;
    const auto batch = [&] {
        std::barrier routed(2);
        par([&](int t) {
            for (auto& events : box[t]) events.clear();
            for (u64 x = b * N + t * N / 2; x < b * N + (t + 1) * N / 2; ++x) {
                const u64 k = draw(42, x) % K;
                box[t][k % 2].push_back({k, 1});
            }
            routed.arrive_and_wait();
            out[t].clear();
            for (const auto& from : box)
                for (const Event& event : from[t]) out[t].push_back({event.key, sums[t].add(event.key, event.value)});
        });
        ++b;
        return u64(out[0].size() + out[1].size());
    };
    for (int warmUp = 0; warmUp < 4; ++warmUp) batch();
    bench(argc > 1 ? atoi(argv[1]) : 20, batch);
}
