#pragma once

#include <version>

// What the library asks of a range: its concepts and traits. In libstdc++ they come with <iterator>; the views of
// <ranges> would be a fifteenth of what an include of the library costs.
#if defined(__GLIBCXX__)
#include <iterator>
#else
#include <ranges>
#endif
