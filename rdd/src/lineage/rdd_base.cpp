#include "rdd/rdd_base.hpp"

#include "rdd/block_manager.hpp"
#include "rdd/detail/block_codec.hpp"
#include "rdd/detail/context_core.hpp"
#include "rdd/detail/shuffle_dependency.hpp"
#include "rdd/detail/stage.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <unordered_set>
#include <utility>

namespace dstream {
namespace {

/// Lets go of a node or a lineage without recursion: what its destructor lets go of waits in a list of the outermost
/// call.
void release(std::shared_ptr<const void> last) {
    thread_local std::vector<std::shared_ptr<const void>>* waiting = nullptr;
    if (!last) return;
    if (waiting != nullptr) {
        waiting->push_back(std::move(last));
        return;
    }
    std::vector<std::shared_ptr<const void>> list;
    waiting = &list;
    for (last.reset(); !list.empty();) {
        auto next = std::move(list.back());
        list.pop_back();
        next.reset();
    }
    waiting = nullptr;
}

/// "1.5 KiB"
std::string sizeText(int64_t bytes) {
    constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    auto size = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; size >= 2048 && unit + 1 < std::size(kUnits); ++unit) size /= 1024;
    char text[48];
    std::snprintf(text, sizeof text, "%.1f %s", size, kUnits[unit]);
    return text;
}

}  // namespace

Dependency::Dependency(std::shared_ptr<RddBase> parent) : rdd_(std::move(parent)) {}

Dependency::~Dependency() {
    release(std::move(rdd_));
}

void OneToOneDependency::parents(int partition, std::vector<int>& out) const {
    out.push_back(partition);
}

void RangeDependency::parents(int partition, std::vector<int>& out) const {
    if (partition >= outStart_ && partition < outStart_ + length_) out.push_back(partition - outStart_ + inStart_);
}

ListDependency::ListDependency(std::shared_ptr<RddBase> parent, std::vector<std::vector<int>> lists)
    : Dependency(std::move(parent)), lists_(std::move(lists)) {}

void ListDependency::parents(int partition, std::vector<int>& out) const {
    const auto& list = lists_.at(static_cast<std::size_t>(partition));
    out.insert(out.end(), list.begin(), list.end());
}

RddBase::RddBase(const std::shared_ptr<SparkContextCore>& context, Lineage dependencies, const char* operatorName,
                 CallSite callSite, std::optional<Partitioner> partitioner)
    : id_(context->newRddId()),
      operatorName_(operatorName),
      callSite_(callSite),
      context_(context->weak_from_this()),
      partitioner_(std::move(partitioner)),
      lineage_(std::make_shared<const Lineage>(std::move(dependencies))) {
    for (const DependencyPtr& dependency : *lineage_) {
        if (dependency->shuffle() != nullptr) continue;
        const RddBase& parent = dependency->rdd();
        narrowDepth_ = std::max(narrowDepth_, parent.narrowDepth_ + 1);
        belowLongLineage_ |= parent.belowLongLineage_ || parent.blockInLongLineage_;
    }
    if (narrowDepth_ >= kMaxNarrowDepth) {
        narrowDepth_ = 0;
        blockInLongLineage_ = true;
        edge_ = true;
    }
}

RddBase::RddBase(RddBase& parent, bool keepsPartitioner, const char* operatorName, CallSite callSite)
    : RddBase(parent.context(), {std::make_shared<OneToOneDependency>(parent.shared_from_this())}, operatorName,
              callSite, keepsPartitioner ? parent.partitioner() : std::nullopt) {}

RddBase::RddBase(std::shared_ptr<const ShuffleDependency> shuffle, const char* operatorName, CallSite callSite)
    : RddBase(shuffle->rdd().context(), {shuffle}, operatorName, callSite, shuffle->partitioner()) {}

bool detail::hasEdge(const RddBase* from, const RddBase* source) {
    for (const RddBase* rdd = from; rdd != nullptr && rdd != source; rdd = rdd->narrowParent()) {
        if (rdd->isEdge()) return true;
    }
    return false;
}

std::shared_ptr<RddBase> detail::asShared(RddBase* made) {
    return std::shared_ptr<RddBase>(made);
}

RddBase::~RddBase() {
    if (wasPersisted_ || checkpointState_ == CheckpointState::kMarked ||
        checkpointState_ == CheckpointState::kMarkedLocal) {
        if (const auto core = context_.lock()) {
            if (wasPersisted_) core->forgetPersisted(id_);
            if (checkpointState_ != CheckpointState::kNone && checkpointState_ != CheckpointState::kDone) {
                --core->pendingCheckpoints();
            }
        }
    }
    release(std::move(lineage_));
    release(std::move(checkpointRdd_));
}

std::string RddBase::name() const {
    const std::lock_guard lock(mutex_);
    return name_;
}

void RddBase::setName(std::string name) {
    const std::lock_guard lock(mutex_);
    name_ = std::move(name);
}

std::string RddBase::scopeText() const {
    return std::string(operatorName_) + " at " + callSite_.toString();
}

std::shared_ptr<SparkContextCore> RddBase::context() const {
    if (auto core = context_.lock()) return core;
    throw IllegalStateException("the SparkContext of " + toString() + " is gone; keep it as long as its RDDs are used");
}

std::shared_ptr<const RddBase::Lineage> RddBase::lineage() const {
    const std::lock_guard lock(mutex_);
    return lineage_;
}

int RddBase::numPartitions() const {
    if (const int known = numPartitions_.load(std::memory_order_acquire); known >= 0) return known;
    // Narrow parents first and without recursion, for the numbers of most operators come from theirs.
    std::vector<const RddBase*> open{this};
    std::vector<std::shared_ptr<const Lineage>> kept;
    while (!open.empty()) {
        const RddBase* const rdd = open.back();
        bool ready = true;
        if (rdd->numPartitions_.load(std::memory_order_acquire) < 0) {
            const auto& lineage = *kept.emplace_back(rdd->lineage());
            for (const DependencyPtr& dependency : lineage) {
                const RddBase& parent = dependency->rdd();
                if (dependency->shuffle() != nullptr || parent.numPartitions_.load(std::memory_order_acquire) >= 0)
                    continue;
                open.push_back(&parent);
                ready = false;
            }
        }
        if (!ready) continue;
        std::call_once(rdd->partitionsOnce_,
                       [rdd] { rdd->numPartitions_.store(rdd->doNumPartitions(), std::memory_order_release); });
        open.pop_back();
    }
    return numPartitions_.load(std::memory_order_acquire);
}

// ---- what is kept

StorageLevel RddBase::storageLevel() const {
    const std::lock_guard lock(mutex_);
    return storageLevel_;
}

void RddBase::persist(StorageLevel level) {
    setLevel(level, false);
}

void RddBase::setLevel(StorageLevel level, bool replace) {
    const auto core = context();
    if (level.useDisk() && blockCodec() == nullptr) {
        throw NotSerializableException("persist(" + level.toString() + ") of " + toString() + " needs a Codec for " +
                                       elementTypeName() + "; give the type one or use a level without disk");
    }
    {
        const std::lock_guard lock(mutex_);
        if (storageLevel_ != StorageLevel::NONE && storageLevel_ != level && !replace) {
            throw UnsupportedOperationException("the storage level of RDD " + std::to_string(id_) + " is " +
                                                storageLevel_.toString() + " already; unpersist it before setting " +
                                                level.toString());
        }
        storageLevel_ = level;
        wasPersisted_ = true;
        updateEdge();
    }
    if (level == StorageLevel::NONE) return;
    if (level.replication() > 1) {
        logMessage(LogLevel::kWarn, "rdd",
                   "one process keeps one copy of a block: the replicas of " + level.toString() + " are ignored");
    }
    core->notePersisted(shared_from_this());
}

void RddBase::unpersist(bool /*blocking: blocks are dropped at once*/) {
    {
        const std::lock_guard lock(mutex_);
        storageLevel_ = StorageLevel::NONE;
        updateEdge();
    }
    if (const auto core = context_.lock()) core->forgetPersisted(id_);
}

void RddBase::updateEdge() {
    edge_.store(
        storageLevel_ != StorageLevel::NONE || checkpointState_ == CheckpointState::kDone || blockInLongLineage_,
        std::memory_order_release);
}

std::shared_ptr<RddBase> RddBase::checkpointRdd() const {
    const std::lock_guard lock(mutex_);
    return checkpointRdd_;
}

std::shared_ptr<const Block> RddBase::edgeBlock(int partition, TaskContext& context) const {
    if (const auto found = context.localBlocks_.find({id_, partition}); found != context.localBlocks_.end()) {
        return found->second;
    }
    StorageLevel level;
    bool cut;
    std::shared_ptr<RddBase> checkpoint;
    {
        const std::lock_guard lock(mutex_);
        level = storageLevel_;
        checkpoint = checkpointRdd_;
        cut = checkpointState_ == CheckpointState::kDone && checkpointIsLocal_;
    }
    const auto compute = [&]() -> BlockPtr {
        if (cut) {
            throw SparkException(
                "partition " + std::to_string(partition) + " of " + toString() +
                " is lost and its lineage was cut by localCheckpoint(); use checkpoint() for what must "
                "survive the loss of cached blocks");
        }
        if (blockInLongLineage_ && !checkpoint) prepareLongLineage(partition, context);
        return computeBlock(partition, context);
    };
    if (level == StorageLevel::NONE) return compute();
    BlockManager& blocks = context.core().blockManager();
    const BlockId id{BlockId::Kind::kRdd, id_, partition};
    const auto computeCounted = [&] {
        if (blocks.isLost(id)) ++context.taskMetrics().recomputedPartitions;
        return compute();
    };
    if (context.attemptNumber() == 0) return blocks.getOrCompute(id, level, blockCodec(), computeCounted);
    // The copy of a slow task would wait for the very one it is to overtake.
    if (BlockPtr block = blocks.get(id)) return block;
    BlockPtr block = computeCounted();
    blocks.put(id, block, level, blockCodec());
    return block;
}

void RddBase::prepareLongLineage(int partition, TaskContext& context) const {
    if (!belowLongLineage_) return;
    using Place = std::pair<const RddBase*, int>;
    // RDD ids rise along the lineage, so that a map by id lists ancestors first.
    const auto ancestorsFirst = [](const Place& a, const Place& b) {
        return std::pair(a.first->id_, a.second) < std::pair(b.first->id_, b.second);
    };
    std::map<Place, int, decltype(ancestorsFirst)> lastReader(ancestorsFirst);  // id of the last block that reads it
    std::vector<std::shared_ptr<const Lineage>> kept;
    const BlockManager& blocks = context.core().blockManager();
    const auto isThere = [&](const Place& place) {
        const auto& [rdd, index] = place;
        return rdd->isEdge() && (context.localBlocks_.contains({rdd->id_, index}) || rdd->checkpointRdd() != nullptr ||
                                 blocks.contains({BlockId::Kind::kRdd, rdd->id_, index}));
    };

    std::vector<Place> readers{{this, partition}};
    std::vector<int> indexes;
    while (!readers.empty()) {
        const Place reader = readers.back();
        readers.pop_back();
        const int readerId = reader.first == this ? std::numeric_limits<int>::max() : reader.first->id_;
        std::vector<Place> open{reader};
        std::set<Place> seen{reader};
        while (!open.empty()) {
            const Place place = open.back();
            open.pop_back();
            const auto& lineage = *kept.emplace_back(place.first->lineage());
            for (const DependencyPtr& dependency : lineage) {
                const RddBase& parent = dependency->rdd();
                if (dependency->shuffle() != nullptr || !(parent.belowLongLineage_ || parent.blockInLongLineage_))
                    continue;
                indexes.clear();
                dependency->parents(place.second, indexes);
                for (const int index : indexes) {
                    const Place next{&parent, index};
                    if (!seen.insert(next).second || isThere(next)) continue;
                    if (!parent.blockInLongLineage_) {
                        open.push_back(next);
                        continue;
                    }
                    const auto [entry, isNew] = lastReader.try_emplace(next, readerId);
                    entry->second = std::max(entry->second, readerId);
                    if (isNew) readers.push_back(next);
                }
            }
        }
    }

    std::multimap<int, std::pair<int, int>> endOf;  // last reader -> blocks that it reads
    for (const auto& [place, reader] : lastReader) endOf.emplace(reader, std::pair(place.first->id_, place.second));
    for (const auto& [place, reader] : lastReader) {
        context.checkCancelled();
        const auto& [rdd, index] = place;
        context.localBlocks_[{rdd->id_, index}] = rdd->edgeBlock(index, context);
        // Other partitions of the same RDD may be still to come and read the same blocks; they follow directly.
        const auto next = lastReader.upper_bound(place);
        if (next != lastReader.end() && next->first.first == rdd) continue;
        const auto [begin, end] = endOf.equal_range(rdd->id_);
        for (auto it = begin; it != end; ++it) context.localBlocks_.erase(it->second);
    }
}

// ---- checkpoints

void RddBase::markForCheckpoint() {
    if (!context()->checkpointDirectory()) {
        throw SparkException("checkpoint() of " + toString() +
                             " needs a directory: call SparkContext::setCheckpointDir before");
    }
    if (blockCodec() == nullptr) {
        throw NotSerializableException("checkpoint() of " + toString() + " needs a Codec for " + elementTypeName());
    }
    markCheckpoint(CheckpointState::kMarked);
}

void RddBase::markForLocalCheckpoint() {
    const StorageLevel level = storageLevel();
    setLevel(
        StorageLevel(true, true, level.useOffHeap(), level.deserialized() || !level.isValid(), level.replication()),
        true);
    markCheckpoint(CheckpointState::kMarkedLocal);
}

void RddBase::markCheckpoint(CheckpointState mark) {
    const auto core = context();
    const std::lock_guard lock(mutex_);
    if (checkpointState_ == CheckpointState::kNone) ++core->pendingCheckpoints();
    if (checkpointState_ <= CheckpointState::kMarkedLocal) checkpointState_ = mark;
}

bool RddBase::awaitsCheckpoint() const {
    const std::lock_guard lock(mutex_);
    return checkpointState_ == CheckpointState::kMarked || checkpointState_ == CheckpointState::kMarkedLocal;
}

bool RddBase::isCheckpointed() const {
    const std::lock_guard lock(mutex_);
    return checkpointState_ == CheckpointState::kDone;
}

std::optional<std::string> RddBase::checkpointFile() const {
    const std::lock_guard lock(mutex_);
    if (checkpointState_ != CheckpointState::kDone || checkpointIsLocal_) return std::nullopt;
    return checkpointFile_;
}

void RddBase::doCheckpoint() {
    CheckpointState mark;
    {
        const std::lock_guard lock(mutex_);
        mark = checkpointState_;
        if (mark != CheckpointState::kMarked && mark != CheckpointState::kMarkedLocal) return;
        checkpointState_ = CheckpointState::kWriting;
    }
    try {
        writeCheckpoint(mark == CheckpointState::kMarkedLocal);
    } catch (...) {
        // Not tried again by other jobs that come across this RDD: who wants that marks it again.
        {
            const std::lock_guard lock(mutex_);
            checkpointState_ = CheckpointState::kNone;
        }
        --context()->pendingCheckpoints();
        throw;
    }
}

void RddBase::writeCheckpoint(bool local) {
    const auto core = context();
    const int count = numPartitions();
    std::string directory;
    if (!local) {
        directory = core->checkpointDirectory().value() + "/rdd-" + std::to_string(id_);
        posixFs().makeDurableDirectories(directory);
    }
    JobRequest request;
    request.rdd = shared_from_this();
    for (int i = 0; i < count; ++i) {
        if (!local || !core->blockManager().contains({BlockId::Kind::kRdd, id_, i})) request.partitions.push_back(i);
    }
    request.task = [this, local, &directory](TaskContext& context) -> std::shared_ptr<void> {
        const auto block = edgeBlock(context.partitionId(), context);
        if (!local) {
            detail::writeBlockFile(directory, context.partitionId(), *block, *blockCodec(), context.taskAttemptId());
        }
        return nullptr;
    };
    request.onResult = [](int, const std::shared_ptr<void>&) {};
    request.action = local ? "localCheckpoint" : "checkpoint";
    request.callSite = callSite_;
    if (!request.partitions.empty()) core->submitJob(std::move(request))->wait();

    if (!local) DSTREAM_FAILPOINT("checkpoint.cut_lineage");
    auto checkpoint = local ? nullptr : makeCheckpointRdd(directory);
    auto cut = std::make_shared<Lineage>();
    if (checkpoint) cut->push_back(std::make_shared<OneToOneDependency>(checkpoint));
    std::shared_ptr<const Lineage> old = std::move(cut);
    {
        const std::lock_guard lock(mutex_);
        checkpointRdd_ = std::move(checkpoint);
        checkpointFile_ = std::move(directory);
        checkpointIsLocal_ = local;
        checkpointState_ = CheckpointState::kDone;
        updateEdge();  // before the parents may go
        lineage_.swap(old);
    }
    --core->pendingCheckpoints();
    release(std::move(old));
}

// ---- text

std::string RddBase::toString() const {
    const std::string given = name();
    return (given.empty() ? "" : given + " ") + className() + "[" + std::to_string(id_) + "] at " + scopeText();
}

std::string RddBase::toDebugString() const {
    struct Line {
        std::shared_ptr<const RddBase> rdd;
        std::string prefix;
        bool shuffle;
        bool last;
    };
    const auto core = context_.lock();
    std::string text;
    std::vector<Line> open{{shared_from_this(), "", true, false}};
    while (!open.empty()) {
        const Line line = std::move(open.back());
        open.pop_back();
        const RddBase& rdd = *line.rdd;
        std::string next = line.prefix;
        std::string begin = line.prefix;
        if (line.shuffle) {
            const std::string count = "(" + std::to_string(rdd.numPartitions()) + ")";
            const std::size_t left = (count.size() - 1) / 2;
            const std::string bar = std::string(left, ' ') + "|" + std::string(count.size() - left, ' ');
            if (&rdd == this) {
                begin = count + " ";
                next = bar;
            } else {
                std::string outer = line.prefix;
                outer.erase(outer.find_last_not_of(' ') + 1);
                if (!outer.empty() && outer.back() == '|')
                    outer.pop_back();
                else
                    outer = line.prefix;
                begin = outer + "+-" + count + " ";
                next = outer + (line.last ? "  " : "| ") + bar;
            }
        }
        const StorageLevel level = rdd.storageLevel();
        if (!text.empty()) text += '\n';
        text += begin + rdd.toString() + " [" + (level == StorageLevel::NONE ? "" : level.description()) + "]";
        if (core && level != StorageLevel::NONE) {
            const RDDInfo info = core->blockManager().infoOf(rdd.id());
            if (info.numCachedPartitions > 0) {
                text += "\n" + next + (&rdd == this ? " " : "") +
                        "    CachedPartitions: " + std::to_string(info.numCachedPartitions) +
                        "; MemorySize: " + sizeText(info.memSize) + "; DiskSize: " + sizeText(info.diskSize);
            }
        }
        const auto lineage = rdd.lineage();
        for (std::size_t i = lineage->size(); i-- > 0;) {
            const Dependency& dependency = *(*lineage)[i];
            open.push_back({dependency.rddPtr(), next, dependency.shuffle() != nullptr, i + 1 == lineage->size()});
        }
    }
    return text;
}

namespace detail {

void rethrowFrom(const char* operatorName, const CallSite& callSite) {
    const std::string place = std::string(operatorName) + " at " + callSite.toString();
    try {
        throw;
    } catch (const OperatorError&) {
        throw;
    } catch (const TaskCancelled&) {
        throw;
    } catch (const FetchFailed&) {
        throw;
    } catch (const std::exception& error) {
        std::throw_with_nested(OperatorError(place + ": " + error.what()));
    } catch (...) {
        std::throw_with_nested(OperatorError(place + ": unknown exception"));
    }
}

}  // namespace detail
}  // namespace dstream
