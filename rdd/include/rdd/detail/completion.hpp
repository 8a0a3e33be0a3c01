#pragma once

#include <cstdint>
#include <memory>

namespace dstream::detail {

/// Something that happens once and that threads wait for. Any thread.
class Completion {
public:
    Completion();
    ~Completion();
    Completion(const Completion&) = delete;
    Completion& operator=(const Completion&) = delete;

    /// It has happened: who waits goes on. What was written before is seen by whoever waited.
    void set();
    void wait() const;
    /// @return false when it did not happen within `timeoutMs`
    bool waitFor(int64_t timeoutMs) const;

private:
    struct State;
    const std::unique_ptr<State> state_;
};

}  // namespace dstream::detail
