#pragma once

#include <functional>
#include <memory>

namespace dstream::detail {

/// Keeps `object`, whose thread is stuck in user code that does not return, until `hasEnded()`: this is asked now and
/// then, and the object destroyed once it is true. At the end of the process what has not ended is left alone, for
/// waiting for it would never end.
void leaveBehind(std::shared_ptr<void> object, std::function<bool()> hasEnded);

/// Destroys what was left behind and has ended meanwhile.
void releaseLeftBehind();

}  // namespace dstream::detail
