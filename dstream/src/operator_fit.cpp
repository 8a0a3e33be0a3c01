#include "operator_fit.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

namespace dstream::detail {

namespace {

using Verdict = OperatorFit::Verdict;

/// A derived id without its place among equals.
std::string kindOf(const std::string& derivedId) {
    const std::size_t end = derivedId.rfind(')');
    return end == std::string::npos ? derivedId : derivedId.substr(0, end + 1);
}

std::string named(const OperatorDescription& op) {
    return op.site.empty() ? op.id : op.id + ", " + op.site;
}

class Fitting {
public:
    Fitting(const std::vector<OperatorCheckpoint>& saved, const std::vector<OperatorDescription>& program)
        : program_(program) {
        for (const OperatorCheckpoint& op : saved) saved_.push_back(&op);
        for (std::size_t i = 0; i < program.size(); ++i) left_.push_back(i);
    }

    std::vector<OperatorFit> run() {
        byUid();
        byPlaceAmongEquals(&OperatorDescription::id, [](const OperatorDescription& op) { return !op.hasUid; });
        byPlaceAmongEquals(&OperatorDescription::derivedId, [](const OperatorDescription&) { return true; });
        for (std::size_t index : left_) {
            const OperatorDescription& op = program_[index];
            if (op.restored()) add(Verdict::kNew, named(op), index, nullptr);
        }
        for (const OperatorCheckpoint* op : saved_) {
            if (op->restored()) add(Verdict::kDropped, named(*op), std::nullopt, op);
        }
        return std::move(fits_);
    }

private:
    void byUid() {
        std::erase_if(left_, [&](std::size_t index) {
            const OperatorDescription& op = program_[index];
            if (!op.hasUid) return false;
            const auto same = std::find_if(saved_.begin(), saved_.end(), [&](auto* old) { return old->id == op.id; });
            if (same == saved_.end()) return false;
            pair(index, *same);
            saved_.erase(same);
            return true;
        });
    }

    /// Pairs operators that are equal but for their place, when there are as many on both sides.
    void byPlaceAmongEquals(std::string OperatorDescription::*id,
                            const std::function<bool(const OperatorDescription&)>& eligible) {
        struct Equals {
            std::vector<const OperatorCheckpoint*> saved;
            std::vector<std::size_t> program;
        };
        std::map<std::string, Equals> groups;
        for (const OperatorCheckpoint* op : saved_) {
            if (!op->hasUid) groups[kindOf(op->*id)].saved.push_back(op);
        }
        for (std::size_t index : left_) {
            if (eligible(program_[index])) groups[kindOf(program_[index].*id)].program.push_back(index);
        }
        std::set<const OperatorCheckpoint*> doneSaved;
        std::set<std::size_t> doneProgram;
        for (const auto& [kind, equals] : groups) {
            if (equals.saved.empty() || equals.program.empty()) continue;
            if (equals.saved.size() == equals.program.size()) {
                for (std::size_t i = 0; i < equals.program.size(); ++i) pair(equals.program[i], equals.saved[i]);
            } else if (equals.saved.front()->restored()) {
                ambiguous(kind, equals.saved, equals.program);
            }
            doneSaved.insert(equals.saved.begin(), equals.saved.end());
            doneProgram.insert(equals.program.begin(), equals.program.end());
        }
        std::erase_if(saved_, [&](auto* op) { return doneSaved.contains(op); });
        std::erase_if(left_, [&](std::size_t index) { return doneProgram.contains(index); });
    }

    void pair(std::size_t index, const OperatorCheckpoint* old) {
        const OperatorDescription& op = program_[index];
        const auto state = [](const OperatorDescription& of) {
            return of.kind + " of " + of.codecName + " version " + std::to_string(of.codecVersion);
        };
        if (!old->rdds.empty() &&
            (op.kind != old->kind || op.codecName != old->codecName || op.codecVersion < old->codecVersion)) {
            add(Verdict::kChanged,
                "the state of " + op.id + " is " + state(*old) + " in the checkpoint, and " +
                    (op.state ? state(op) : "none, " + op.kind + ",") + " in " + op.site,
                index, old);
            return;
        }
        add(Verdict::kLoads, named(op) + (op.id == old->id ? "" : ", which was " + old->id), index, old);
    }

    void ambiguous(const std::string& kind, const std::vector<const OperatorCheckpoint*>& saved,
                   const std::vector<std::size_t>& program) {
        std::string ids, sites;
        for (const OperatorCheckpoint* op : saved) ids += (ids.empty() ? "uid(\"" : "\"), uid(\"") + op->id;
        for (std::size_t index : program) {
            sites += (sites.empty() ? "" : ", ") +
                     (program_[index].site.empty() ? program_[index].id : program_[index].site);
        }
        add(Verdict::kAmbiguous,
            kind + " is " + std::to_string(saved.size()) + " times in the checkpoint and " +
                std::to_string(program.size()) + " times in the program, so which one is " +
                (saved.size() < program.size() ? "new" : "gone") + " cannot be told: give these a uid: " + sites +
                "; those of the checkpoint are " + ids + "\")",
            program.front(), saved.front());
    }

    void add(Verdict verdict, std::string reason, std::optional<std::size_t> index, const OperatorCheckpoint* old) {
        fits_.push_back({verdict, index ? program_[*index].id : old->id, std::move(reason), index, old});
    }

    const std::vector<OperatorDescription>& program_;
    std::vector<const OperatorCheckpoint*> saved_;  // not found yet
    std::vector<std::size_t> left_;                 // not found yet
    std::vector<OperatorFit> fits_;
};

}  // namespace

const char* nameOf(Verdict verdict) {
    switch (verdict) {
        case Verdict::kLoads:
            return "loads";
        case Verdict::kNew:
            return "new";
        case Verdict::kDropped:
            return "missing";
        case Verdict::kChanged:
            return "changed";
        case Verdict::kAmbiguous:
            return "ambiguous";
    }
    return "";
}

std::vector<OperatorFit> fitOperators(const std::vector<OperatorCheckpoint>& saved,
                                      const std::vector<OperatorDescription>& program) {
    return Fitting(saved, program).run();
}

bool isRefused(const OperatorFit& fit, bool allowDropped, bool allowNew) {
    switch (fit.verdict) {
        case Verdict::kLoads:
            return false;
        case Verdict::kNew:
            return !allowNew;
        case Verdict::kDropped:
            return !allowDropped;
        case Verdict::kChanged:
            return !allowDropped || !allowNew;
        case Verdict::kAmbiguous:
            return true;
    }
    return true;
}

}  // namespace dstream::detail
