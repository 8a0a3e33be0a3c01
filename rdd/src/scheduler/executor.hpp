#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

namespace dstream {

/// Runs work on a fixed number of slots. What the work is, the owner knows: a slot asks for the next piece until there
/// is none.
class Executor {
public:
    /// Takes the next piece of ready work and runs it; false when there is none. Called by all slots at once; must not
    /// throw.
    using RunNext = std::function<bool()>;

    virtual ~Executor() = default;
    /// Tells that `pieces` more are ready. Never blocks; any thread, slots included.
    virtual void wake(int pieces) = 0;
    /// Lets the pieces that run end, begins no others, and joins the threads. False when one still runs after
    /// `patience`: call it again. Not from a slot. Idempotent.
    virtual bool stop(std::chrono::milliseconds patience) = 0;
    /// True on a thread that runs a piece.
    virtual bool onSlot() const = 0;
    /// Lets the calling thread, none of the slots, take the place of one that sleeps; false when none does. It counts
    /// as a slot until giveBack, but what it makes ready others are woken for.
    virtual bool borrow() { return false; }
    virtual void giveBack() {}
    /// Tells that pieces are ready that the caller, who has borrowed a place, is about to run alone. Slots are woken
    /// when it has not given its place back about 10 ms later, or at once when nobody could see to that cheaply.
    virtual void wakeLater(int pieces) { wake(pieces); }
};

/// Threads that sleep until they are woken.
std::unique_ptr<Executor> makeThreadExecutor(int slots, Executor::RunNext runNext);
/// A TBB arena of that many slots.
std::unique_ptr<Executor> makeTbbExecutor(int slots, Executor::RunNext runNext);

/// By name, "threads" or "tbb".
/// @throws IllegalArgumentException  for another name
std::unique_ptr<Executor> makeExecutor(std::string_view kind, int slots, Executor::RunNext runNext);

}  // namespace dstream
