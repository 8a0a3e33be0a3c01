#pragma once

#include "streaming_checkpoint.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace dstream::detail {

/// How an operator of a program, or of a checkpoint, fits the other side.
struct OperatorFit {
    enum class Verdict {
        kLoads,      // found: what the checkpoint has of it comes back
        kNew,        // the checkpoint lacks it
        kDropped,    // the program lacks it
        kChanged,    // found, and its state is of another kind or type
        kAmbiguous,  // there are equals, and which one the checkpoint means cannot be told
    };
    Verdict verdict;
    std::string id;
    std::string reason;                  // for people
    std::optional<std::size_t> program;  // its index in the program
    const OperatorCheckpoint* saved = nullptr;
};

/// "loads", "new", "missing", "changed", "ambiguous"
const char* nameOf(OperatorFit::Verdict verdict);

/// Finds for each operator of a program what a checkpoint has of it. Operators that neither bring data nor have state
/// are listed only when they are found. First by id; a uid given later is found by the id that was derived before, and
/// an operator may be given that as its uid.
std::vector<OperatorFit> fitOperators(const std::vector<OperatorCheckpoint>& saved,
                                      const std::vector<OperatorDescription>& program);

/// True when a start is refused because of it. State that has changed may be dropped and begun anew when both are
/// allowed; what is ambiguous is always refused.
bool isRefused(const OperatorFit& fit, bool allowDropped, bool allowNew);

}  // namespace dstream::detail
