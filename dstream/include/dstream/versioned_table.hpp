#pragma once

#include "rdd/detail/flat_table.hpp"
#include "rdd/detail/table_memory.hpp"
#include "rdd/placement_hash.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream::detail {

/// A shared mutex whose writers are not kept out by readers that come again and again.
class FairSharedMutex {
public:
    void lock() {
        const std::lock_guard turn(turn_);
        mutex_.lock();
    }
    void unlock() { mutex_.unlock(); }
    void lock_shared() {
        const std::lock_guard turn(turn_);
        mutex_.lock_shared();
    }
    void unlock_shared() { mutex_.unlock_shared(); }

private:
    std::mutex turn_;  // before mutex_
    std::shared_mutex mutex_;
};

/// Who writes a version. Of two attempts of one task the later one takes the table over from the earlier one.
struct WriterId {
    int64_t task = 0;
    int attempt = 0;
};

/// Ends the work of an attempt that another one has taken the table over from.
struct AttemptSuperseded {};

/// One partition of keyed state: a hash table updated in place, with versions. The newest version is the table itself;
/// older ones, for as long as somebody holds them, are reached through undo records. Versions have rising numbers, the
/// times of batches in ms.
///
/// One attempt writes at a time. What it does can be seen by nobody before its commit, and is undone when it ends
/// without. It calls the functions it is given outside of the lock, and applies what they did a piece at a time under
/// it; readers copy about a thousand entries at a time under the shared lock.
///
///     auto table = VersionedTable<int64_t, int64_t>::make();
///     auto attempt = table->begin(std::nullopt, 1000);      // the first version
///     attempt->update(keys.size(), [&](std::size_t i) -> const int64_t& { return keys[i]; },
///                     [](std::size_t, std::optional<int64_t>& count) { count = count.value_or(0) + 1; return true; });
///     auto version = attempt->commit();                     // readable while it is held
///
/// A timed table keeps for each key the number of the version that set it last, and an index by it.
template <class K, class S>
class VersionedTable : public std::enable_shared_from_this<VersionedTable<K, S>> {
    static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
    static constexpr std::size_t kPiece = 1024;  // entries per lock, per segment and undo records per block
    static constexpr int kRenewBits = 30;        // ids of records are renewed at every 2^30th
    static constexpr bool kStoresHash = !(std::is_arithmetic_v<K> || std::is_enum_v<K>);

    // Of an entry, and of its state before, in an undo record.
    static constexpr uint8_t kUsed = 1;     // it has a key
    static constexpr uint8_t kLive = 2;     // the key has a state
    static constexpr uint8_t kIndexed = 4;  // it is in the index by time
    static constexpr uint8_t kDies = 8;     // of an undo record: the version it leads back from has no state

    struct NoHash {};

    struct Entry {
        Entry() {}   // NOLINT: the members of the unions are made when there is something to hold
        ~Entry() {}  // NOLINT
        union {
            K key;
        };
        union {
            S state;
        };
        uint32_t undo = 0;  // id of its newest undo record, if that one is still there
        uint8_t flags = 0;
        [[no_unique_address]] std::conditional_t<kStoresHash, uint32_t, NoHash> hash;
    };
    using Times = std::array<int64_t, kPiece>;
    using Segment = std::array<Entry, kPiece>;
    // Segments come one by one as long as the table is small, then as many at a time as fill a large page.
    static constexpr std::size_t kSlab = std::max<std::size_t>(1, (std::size_t{1} << 21) / sizeof(Segment));

    /// What an entry was before a version.
    struct Undo {
        Undo() {}   // NOLINT
        ~Undo() {}  // NOLINT
        union {
            S state;
        };
        uint32_t entry = 0;
        uint32_t previous = 0;  // id of the entry's next older record, if that one is still there
        uint8_t flags = 0;
        int64_t updated = 0;
    };
    struct UndoBlock {
        std::array<Undo, kPiece> records;
    };

    struct VersionInfo {
        int64_t number = 0;
        uint64_t position = 0;  // undo records from this id on lead back to it
        std::size_t size = 0;
        std::size_t holders = 0;
        std::shared_ptr<const void> outputs;
    };

public:
    class Version;
    class Attempt;
    using Ptr = std::shared_ptr<VersionedTable>;
    using VersionPtr = std::shared_ptr<const Version>;

    /// @param firstRecord  the number of its first undo record
    static Ptr make(bool timed = false, uint64_t firstRecord = 0) {
        return Ptr(new VersionedTable(timed, firstRecord));
    }
    ~VersionedTable() { clear(); }
    VersionedTable(const VersionedTable&) = delete;
    VersionedTable& operator=(const VersionedTable&) = delete;

    /// The number of the newest version; absent before the first commit.
    std::optional<int64_t> head() const {
        const std::shared_lock lock(mutex_);
        return headNumber();
    }

    /// Makes a version readable for as long as the result is held; null when it is not there any more (or not yet).
    VersionPtr version(int64_t number) {
        const std::unique_lock lock(mutex_);
        VersionInfo* const info = find(number);
        return info != nullptr ? hold(*info) : nullptr;
    }

    /// Starts to write version `to`. Waits until no other attempt writes, unless it is one of the same task and older:
    /// that one is superseded.
    /// @param from  what the newest version must be; absent: there must be none
    /// @return nothing when the newest version is another one
    std::optional<Attempt> begin(std::optional<int64_t> from, int64_t to, WriterId writer = {}) {
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [&] {
            return active_ == 0 || headNumber() != from ||
                   (writer_.task == writer.task && writer_.attempt < writer.attempt);
        });
        if (headNumber() != from) return std::nullopt;
        if (active_ != 0) rollBack();
        active_ = ++lastAttempt_;
        writer_ = writer;
        to_ = to;
        sizeBefore_ = size_;
        renewOldIds();
        firstRecord_ = newest_;
        return Attempt(this->shared_from_this(), active_);
    }

    bool isTimed() const { return timed_; }
    /// Bytes that the table keeps, without what keys and states own elsewhere.
    std::size_t memoryBytes() const {
        const std::shared_lock lock(mutex_);
        std::size_t bytes = (segments_.size() + unused_) * sizeof(Segment) + times_.size() * sizeof(Times) +
                            segments_.capacity() * sizeof(segments_[0]) +
                            (undo_.size() + spare_.size()) * sizeof(UndoBlock) +
                            (slots_.capacity() + free_.capacity() + born_.capacity()) * sizeof(uint32_t);
        for (const auto& [time, entries] : byTime_) bytes += entries.capacity() * sizeof(uint32_t) + 64;
        return bytes;
    }
    /// How many undo records are kept.
    std::size_t undoRecords() const {
        const std::shared_lock lock(mutex_);
        return newest_ - oldest_;
    }

private:
    VersionedTable(bool timed, uint64_t firstRecord)
        : timed_(timed), oldest_(firstRecord), newest_(firstRecord), renewed_(firstRecord >> kRenewBits) {
        slots_.assign(std::size_t{1} << bits_, 0);
    }

    std::optional<int64_t> headNumber() const {
        return versions_.empty() ? std::nullopt : std::optional(versions_.back().number);
    }
    VersionInfo* find(int64_t number) {
        for (auto info = versions_.rbegin(); info != versions_.rend() && info->number >= number; ++info) {
            if (info->number == number) return &*info;
        }
        return nullptr;
    }
    VersionPtr hold(VersionInfo& info) {
        ++info.holders;
        return VersionPtr(new Version(this->shared_from_this(), info.number, info.position, info.size, info.outputs));
    }
    void letGo(int64_t number) {
        const std::unique_lock lock(mutex_);
        --find(number)->holders;
        trim();
    }

    // ---- the hash index: 32 bits of the hash choose a slot and are kept in it, as far as the entry's number leaves
    // room

    template <class Key>
    static uint32_t hashOf(const Key& key) {
        return static_cast<uint32_t>(PlacementHash<Key>{}(key) >> 32);
    }
    static uint32_t hashOf(const Entry& entry) requires kStoresHash { return entry.hash; }
    static uint32_t hashOf(const Entry& entry) requires(!kStoresHash) { return hashOf(entry.key); }
    Entry& entry(uint32_t index) { return (*segments_[index / kPiece])[index % kPiece]; }
    const Entry& entry(uint32_t index) const { return (*segments_[index / kPiece])[index % kPiece]; }
    int64_t updated(uint32_t index) const { return timed_ ? (*times_[index / kPiece])[index % kPiece] : 0; }
    void setUpdated(uint32_t index, int64_t number) {
        if (timed_) (*times_[index / kPiece])[index % kPiece] = number;
    }
    void prefetch(uint32_t index) const {
        const Entry& at = entry(index);
        __builtin_prefetch(&at);
        if constexpr (sizeof(Entry) % 64 != 0) __builtin_prefetch(reinterpret_cast<const char*>(&at + 1) - 1);
    }
    uint32_t mask() const { return static_cast<uint32_t>(slots_.size() - 1); }
    uint32_t home(uint32_t hash) const { return hash >> (32 - bits_); }
    uint32_t indexIn(uint32_t slot) const { return (slot & mask()) - 1; }

    /// The first entry at or after `slot` whose kept bits fit; kNone at a gap.
    uint32_t candidate(uint32_t& slot, uint32_t hash) const {
        const uint32_t kept = hash << bits_;
        for (;; slot = (slot + 1) & mask()) {
            const uint32_t value = slots_[slot];
            if (value == 0) return kNone;
            if ((value ^ kept) <= mask()) return indexIn(value);
        }
    }
    /// Where a key of this hash is looked for: a slot, and the entry that it leads to.
    struct Place {
        uint32_t hash = 0;
        uint32_t slot = 0;
        uint32_t index = kNone;
    };
    /// The entry of the key, from its first candidate on; kNone at a gap.
    template <class Key>
    uint32_t settle(Place at, const Key& key) const {
        while (at.index != kNone && !sameKey(entry(at.index).key, key)) {
            at.slot = (at.slot + 1) & mask();
            at.index = candidate(at.slot, at.hash);
        }
        return at.index;
    }
    template <class Key>
    uint32_t locate(const Key& key, uint32_t hash) const {
        Place at{hash, home(hash)};
        at.index = candidate(at.slot, hash);
        return settle(at, key);
    }
    /// Locates the keys `keyAt(0…)` of these places, whose hashes are set. Many at a time, so that the memory one waits
    /// for has come while the others were asked for.
    template <class At, class KeyAt>
    void locateAll(std::span<At> places, KeyAt&& keyAt) const {
        constexpr std::size_t kBlock = 128;
        for (std::size_t begin = 0; begin < places.size(); begin += kBlock) {
            const std::span<At> block = places.subspan(begin, std::min(kBlock, places.size() - begin));
            for (Place& at : block) {
                at.slot = home(at.hash);
                __builtin_prefetch(&slots_[at.slot]);
            }
            for (Place& at : block) {
                at.index = candidate(at.slot, at.hash);
                if (at.index != kNone) prefetch(at.index);
            }
            for (std::size_t i = 0; i < block.size(); ++i) block[i].index = settle(block[i], keyAt(begin + i));
        }
    }
    void fill(uint32_t hash, uint32_t index) {
        uint32_t slot = home(hash);
        while (slots_[slot] != 0) slot = (slot + 1) & mask();
        slots_[slot] = (hash << bits_) | (index + 1);
    }
    void reserve(std::size_t used) {
        if (used * 5 <= slots_.size() * 4) return;
        while (used * 5 > (std::size_t{1} << bits_) * 4) ++bits_;
        slots_ = {};
        slots_.assign(std::size_t{1} << bits_, 0);
        for (uint32_t index = 0; index < count_; ++index) {
            const Entry& at = entry(index);
            if (at.flags & kUsed) fill(hashOf(at), index);
        }
    }
    void eraseSlot(uint32_t index) {
        uint32_t gap = home(hashOf(entry(index)));
        while (indexIn(slots_[gap]) != index) gap = (gap + 1) & mask();
        for (uint32_t next = (gap + 1) & mask(); slots_[next] != 0; next = (next + 1) & mask()) {
            const uint32_t wanted = home(hashOf(entry(indexIn(slots_[next]))));
            if (((next - wanted) & mask()) < ((next - gap) & mask())) continue;
            slots_[gap] = slots_[next];
            gap = next;
        }
        slots_[gap] = 0;
    }

    // ---- entries

    void addSegment() {
        if (unused_ == 0) {
            slabs_.emplace_back(segments_.size() < kSlab ? 1 : kSlab);
            unused_ = slabs_.back().size();
        }
        segments_.push_back(&slabs_.back()[slabs_.back().size() - unused_]);
        --unused_;
        if (timed_) times_.push_back(std::make_unique<Times>());
    }
    template <class Key>
    uint32_t insert(const Key& key, uint32_t hash) {
        reserve(used_ + 1);
        uint32_t index = count_;
        if (free_.empty()) {
            if (index % kPiece == 0) addSegment();
            ++count_;
        } else {
            index = free_.back();
            free_.pop_back();
        }
        Entry& at = entry(index);
        std::construct_at(&at.key, convertElement<K>(key));
        at.flags = static_cast<uint8_t>((at.flags & kIndexed) | kUsed);
        at.undo = static_cast<uint32_t>(oldest_ - 1);
        if constexpr (kStoresHash) at.hash = hash;
        ++used_;
        fill(hash, index);
        return index;
    }
    void freeEntry(uint32_t index) {
        Entry& at = entry(index);
        eraseSlot(index);
        std::destroy_at(&at.key);
        at.flags &= kIndexed;
        --used_;
        free_.push_back(index);
    }
    void setState(Entry& at, S state) {
        if (at.flags & kLive) {
            at.state = std::move(state);
        } else {
            std::construct_at(&at.state, std::move(state));
            at.flags |= kLive;
            ++size_;
        }
    }
    void dropState(Entry& at) {
        if (!(at.flags & kLive)) return;
        std::destroy_at(&at.state);
        at.flags &= static_cast<uint8_t>(~kLive);
        --size_;
    }

    // ---- undo records: ids count up; entries and records keep their lower 32 bits. So that an id that is out of date
    // does not come to look like that of a living record, it is replaced before the count has gone round.

    Undo& recordAt(uint64_t id) { return undo_[id / kPiece - oldest_ / kPiece]->records[id % kPiece]; }
    const Undo& recordAt(uint64_t id) const { return undo_[id / kPiece - oldest_ / kPiece]->records[id % kPiece]; }
    /// The id of a record by its lower bits, if it lies in [from, limit); else `limit`.
    uint64_t recordOf(uint32_t lowId, uint64_t from, uint64_t limit) const {
        const uint64_t id = oldest_ + static_cast<uint32_t>(lowId - static_cast<uint32_t>(oldest_));
        return id >= from && id < limit ? id : limit;
    }
    /// The oldest record of an entry from `position` on: what the entry was at that position. Null when it is that
    /// still.
    const Undo* recordSince(const Entry& at, uint64_t position) const {
        const Undo* found = nullptr;
        uint64_t limit = newest_;
        for (uint64_t id = recordOf(at.undo, position, limit); id < limit;) {
            found = &recordAt(id);
            limit = id;
            id = recordOf(found->previous, position, limit);
        }
        return found;
    }
    /// Replaces the ids that are out of date, before a writer that comes after many records.
    void renewOldIds() {
        if (newest_ >> kRenewBits == renewed_) return;
        renewed_ = newest_ >> kRenewBits;
        const auto renew = [this](uint32_t& lowId) {
            if (recordOf(lowId, oldest_, newest_) == newest_) lowId = static_cast<uint32_t>(oldest_ - 1);
        };
        for (uint32_t index = 0; index < count_; ++index) renew(entry(index).undo);
        for (uint64_t id = oldest_; id < newest_; ++id) renew(recordAt(id).previous);
    }
    /// Calls `f` with an entry as it was at `position`; 0 when its key had no state then.
    template <class F>
    std::size_t visit(uint32_t index, uint64_t position, F&& f) const {
        const Entry& at = entry(index);
        if (const Undo* const before = recordSince(at, position)) {
            if (!(before->flags & kLive)) return 0;
            f(at.key, before->state, before->updated);
        } else {
            if (!(at.flags & kLive)) return 0;
            f(at.key, at.state, updated(index));
        }
        return 1;
    }
    /// Keeps what an entry is before this attempt changes it for the first time.
    void remember(uint32_t index, Entry& at) {
        if (recordOf(at.undo, firstRecord_, newest_) < newest_) return;
        if (newest_ % kPiece == 0 || undo_.empty()) {
            if (spare_.empty()) {
                undo_.push_back(std::make_unique<UndoBlock>());
            } else {
                undo_.push_back(std::move(spare_.back()));
                spare_.pop_back();
            }
        }
        Undo& record = undo_.back()->records[newest_ % kPiece];
        record.entry = index;
        record.previous = at.undo;
        record.flags = at.flags & kLive;
        record.updated = updated(index);
        if (at.flags & kLive) std::construct_at(&record.state, std::move(at.state));
        at.undo = static_cast<uint32_t>(newest_++);
    }
    void change(uint32_t index, std::optional<S>&& state) {
        Entry& at = entry(index);
        const bool undoable = !versions_.empty();  // nobody can want what was before the first version
        if (undoable) remember(index, at);
        if (state) {
            const bool wasDead = !(at.flags & kLive);
            setState(at, *std::move(state));
            setUpdated(index, to_);
            if (wasDead) {
                if (undoable) recordAt(recordOf(at.undo, oldest_, newest_)).flags &= static_cast<uint8_t>(~kDies);
                if (timed_ && !(at.flags & kIndexed)) born_.push_back(index);
            }
        } else {
            dropState(at);
            if (undoable) {
                recordAt(recordOf(at.undo, oldest_, newest_)).flags |= kDies;
            } else {
                freeEntry(index);
            }
        }
    }
    void dropOldestBlock() {
        // The next attempt is likely to need as many as the last one did.
        if (spare_.size() <= lastRecords_ / kPiece) spare_.push_back(std::move(undo_.front()));
        undo_.pop_front();
    }

    void putInIndex(uint32_t index) {
        Entry& at = entry(index);
        at.flags &= static_cast<uint8_t>(~kIndexed);
        if (!(at.flags & kLive)) return;
        byTime_[updated(index)].push_back(index);
        at.flags |= kIndexed;
    }

    void rollBack() {
        if (versions_.empty()) {
            clear();
        } else {
            for (; newest_ > firstRecord_; --newest_) {
                Undo& record = recordAt(newest_ - 1);
                Entry& at = entry(record.entry);
                if (record.flags & kLive) {
                    setState(at, std::move(record.state));
                    std::destroy_at(&record.state);
                } else {
                    dropState(at);
                }
                setUpdated(record.entry, record.updated);
                at.undo = record.previous;
                // A key that was there without a state has an older record that leads back to one.
                if (!(at.flags & kLive) && recordOf(at.undo, oldest_, newest_ - 1) == newest_ - 1)
                    freeEntry(record.entry);
            }
            while (!undo_.empty() && (oldest_ / kPiece + undo_.size() - 1) * kPiece >= newest_) undo_.pop_back();
            size_ = sizeBefore_;
        }
        end();
    }
    /// The attempt is over, one way or the other.
    void end() {
        born_ = {};
        active_ = 0;
        trim();
        ended_.notify_all();
    }

    /// Forgets the versions that nobody holds, and the records that only these needed. Entries stay where they are
    /// while an attempt runs: it has their numbers.
    void trim() {
        for (std::size_t i = versions_.size(); i-- > 0;) {
            if (versions_[i].holders == 0 && i + 1 < versions_.size()) versions_.erase(versions_.begin() + i);
        }
        if (active_ != 0 || versions_.empty()) return;
        for (const uint64_t end = versions_.front().position; oldest_ < end;) {
            Undo& record = recordAt(oldest_);
            if (record.flags & kLive) std::destroy_at(&record.state);
            if (record.flags & kDies) {
                const Entry& at = entry(record.entry);
                if (!(at.flags & kLive) && at.undo == static_cast<uint32_t>(oldest_)) freeEntry(record.entry);
            }
            if (++oldest_ % kPiece == 0) dropOldestBlock();
        }
    }

    void clear() {
        for (uint32_t index = 0; index < count_; ++index) {
            Entry& at = entry(index);
            if (at.flags & kLive) std::destroy_at(&at.state);
            if (at.flags & kUsed) std::destroy_at(&at.key);
        }
        for (; oldest_ < newest_; ++oldest_) {
            Undo& record = recordAt(oldest_);
            if (record.flags & kLive) std::destroy_at(&record.state);
            if ((oldest_ + 1) % kPiece == 0) undo_.pop_front();
        }
        undo_.clear();
        spare_.clear();
        oldest_ = newest_;
        segments_.clear();
        slabs_.clear();
        times_.clear();
        unused_ = 0;
        free_.clear();
        byTime_.clear();
        bits_ = 4;
        slots_.assign(std::size_t{1} << bits_, 0);
        count_ = 0;
        used_ = size_ = 0;
    }

    const bool timed_;
    mutable FairSharedMutex mutex_;  // guards the fields below
    std::condition_variable_any ended_;
    std::vector<Segment*> segments_;
    std::vector<std::vector<Segment, TableAllocator<Segment>>> slabs_;  // what they are parts of
    std::size_t unused_ = 0;                                            // segments at the end of the last slab
    std::vector<std::unique_ptr<Times>> times_;                         // of the segments of a timed table
    // 0: a gap; else the entry's number + 1 in the lower `bits_`, above them of its hash.
    std::vector<uint32_t, TableAllocator<uint32_t>> slots_;
    std::vector<uint32_t> free_;
    int bits_ = 4;
    uint32_t count_ = 0;    // entries there have ever been
    std::size_t used_ = 0;  // those with a key
    std::size_t size_ = 0;  // those with a state

    std::deque<std::unique_ptr<UndoBlock>> undo_;    // the records in [oldest_, newest_)
    std::vector<std::unique_ptr<UndoBlock>> spare_;  // to be used again
    uint64_t lastRecords_ = 0;                       // that the last attempt made
    uint64_t oldest_;
    uint64_t newest_;
    uint64_t renewed_;                  // how often old ids have been renewed
    std::deque<VersionInfo> versions_;  // the last one is the table

    // The entries by a time at which they were set, each one once. Not that of the last time: it is looked up when the
    // entry seems due.
    std::map<int64_t, std::vector<uint32_t>> byTime_;

    // The attempt that writes; 0: none.
    uint64_t active_ = 0;
    uint64_t lastAttempt_ = 0;
    WriterId writer_;
    int64_t to_ = 0;
    uint64_t firstRecord_ = 0;
    std::size_t sizeBefore_ = 0;
    std::vector<uint32_t> born_;  // entries that must get into the index
};

/// A version of a table, readable while it is held, from any thread.
template <class K, class S>
class VersionedTable<K, S>::Version {
public:
    ~Version() { table_->letGo(number_); }
    Version(const Version&) = delete;
    Version& operator=(const Version&) = delete;

    int64_t number() const { return number_; }
    /// How many keys have a state.
    std::size_t size() const { return size_; }
    /// What its writer gave to `commit`.
    const std::shared_ptr<const void>& outputs() const { return outputs_; }
    const Ptr& table() const { return table_; }

    /// Calls `f(key, state, number of the version that set it)` for at most `max` keys, from `position` on, which is 0
    /// at first and is moved. Under the lock: `f` copies and does nothing else.
    /// @return false at the end
    template <class F>
    bool read(std::size_t& position, std::size_t max, F&& f) const {
        const VersionedTable& table = *table_;
        std::size_t found = 0;
        while (found == 0) {
            const std::shared_lock lock(table.mutex_);
            if (position >= table.count_) return false;
            const std::size_t end = std::min<std::size_t>((position / kPiece + 1) * kPiece, table.count_);
            if (position_ < table.newest_) {
                for (; position < end && found < max; ++position) {
                    found += table.visit(static_cast<uint32_t>(position), position_, f);
                }
                continue;
            }
            const Segment& entries = *table.segments_[position / kPiece];  // nothing has changed since
            for (; position < end && found < max; ++position) {
                const Entry& at = entries[position % kPiece];
                if (!(at.flags & kLive)) continue;
                f(at.key, at.state, table.updated(static_cast<uint32_t>(position)));
                ++found;
            }
        }
        return true;
    }

    /// The state of a key; absent when it has none.
    template <class Key>
    std::optional<S> find(const Key& key) const {
        const uint32_t hash = hashOf(key);
        std::optional<S> result;
        const std::shared_lock lock(table_->mutex_);
        const uint32_t index = table_->locate(key, hash);
        if (index != kNone) table_->visit(index, position_, [&](const K&, const S& state, int64_t) { result = state; });
        return result;
    }

    /// Calls `f(key, state or null, number of the version that set it)` for every key that may differ from an older
    /// version of the same table. Copies a piece at a time; `f` is called without a lock.
    template <class F>
    void readChangesSince(const Version& before, F&& f) const {
        const VersionedTable& table = *table_;
        std::vector<bool> changed;
        for (uint64_t id = before.position_; id < position_;) {
            const std::shared_lock lock(table.mutex_);
            changed.resize(table.count_);
            for (const uint64_t end = std::min(position_, id + kPiece); id < end; ++id)
                changed[table.recordAt(id).entry] = true;
        }
        std::vector<uint32_t> indexes;
        for (uint32_t index = 0; index < changed.size(); ++index) {
            if (changed[index]) indexes.push_back(index);
        }
        struct Change {
            K key;
            std::optional<S> state;
            int64_t updated;
        };
        std::vector<Change> piece;
        for (std::size_t i = 0; i < indexes.size();) {
            piece.clear();
            {
                const std::shared_lock lock(table.mutex_);
                for (const std::size_t end = std::min(indexes.size(), i + kPiece); i < end; ++i) {
                    Change& change = piece.emplace_back(Change{table.entry(indexes[i]).key, std::nullopt, 0});
                    table.visit(indexes[i], position_, [&](const K&, const S& state, int64_t updated) {
                        change.state = state;
                        change.updated = updated;
                    });
                }
            }
            for (const Change& change : piece) f(change.key, change.state ? &*change.state : nullptr, change.updated);
        }
    }

    /// A table of its own whose newest version is this one.
    VersionPtr copy() const {
        Ptr table = make(table_->isTimed());
        auto attempt = table->begin(std::nullopt, number_);
        std::vector<K> keys;
        std::vector<S> states;
        std::vector<int64_t> updated;
        const auto take = [&](const K& key, const S& state, int64_t at) {
            keys.push_back(key);
            states.push_back(state);
            updated.push_back(at);
        };
        for (std::size_t position = 0; read(position, kPiece, take);) {
            attempt->load(keys, states, updated);
            keys.clear();
            states.clear();
            updated.clear();
        }
        return attempt->commit(outputs_);
    }

private:
    friend class VersionedTable;
    Version(Ptr table, int64_t number, uint64_t position, std::size_t size, std::shared_ptr<const void> outputs)
        : table_(std::move(table)), number_(number), position_(position), size_(size), outputs_(std::move(outputs)) {}

    const Ptr table_;
    const int64_t number_;
    const uint64_t position_;
    const std::size_t size_;
    const std::shared_ptr<const void> outputs_;
};

/// One attempt to write a version. Used by one thread; its end without `commit` undoes everything. All but the end may
/// throw AttemptSuperseded.
template <class K, class S>
class VersionedTable<K, S>::Attempt {
public:
    Attempt(Attempt&&) noexcept = default;
    Attempt& operator=(Attempt&&) = delete;
    ~Attempt() {
        if (!table_) return;
        const std::unique_lock lock(table_->mutex_);
        if (table_->active_ == id_) table_->rollBack();
    }

    /// Calls `change(i, state)` for each i in [0, n), in order, with the state of the key `keyAt(i)`. It returns true
    /// when it has set the optional, or reset it to remove the key. Several i may have the same key: each sees what the
    /// ones before did.
    /// @param kDistinct  no key comes twice
    /// @param keyAt      returns a reference (to a K or a view of one) that stays valid during the call
    template <bool kDistinct = false, class KeyAt, class Change>
    void update(std::size_t n, KeyAt&& keyAt, Change&& change) {
        using Key = std::remove_cvref_t<decltype(keyAt(std::size_t{0}))>;
        using Item = Wanted<Key>;
        std::vector<Item> items;
        items.reserve(std::min(n, kPiece));
        std::vector<uint16_t> itemOf(kDistinct ? 0 : std::min(n, kPiece));
        std::array<uint16_t, 2 * kPiece> places;
        for (std::size_t begin = 0; begin < n; begin += kPiece) {
            const std::size_t size = std::min(kPiece, n - begin);
            // Each key once.
            items.clear();
            if constexpr (!kDistinct) places.fill(0);
            for (std::size_t i = 0; i < size; ++i) {
                const Key& key = keyAt(begin + i);
                const uint32_t hash = hashOf(key);
                if constexpr (kDistinct) {
                    items.emplace_back(&key, hash);
                    continue;
                }
                std::size_t place = hash % places.size();
                for (; places[place] != 0; place = (place + 1) % places.size()) {
                    const Item& item = items[places[place] - 1U];
                    if (item.hash == hash && sameKey(*item.key, key)) break;
                }
                if (places[place] == 0) {
                    items.emplace_back(&key, hash);
                    places[place] = static_cast<uint16_t>(items.size());
                }
                itemOf[i] = static_cast<uint16_t>(places[place] - 1);
            }
            find(items);
            for (std::size_t i = 0; i < size; ++i) {
                Item& item = items[kDistinct ? i : itemOf[i]];
                if (change(begin + i, item.state)) item.changed = true;
            }
            apply(items);
        }
    }

    /// What a function has made of a state.
    enum class Verdict : uint8_t { kKept, kSet, kRemoved };
    static constexpr uint32_t kTogether = kPiece;
    /// Calls `change(index, key, state)` for every key that has a state; `index` is the one that `locate` gives. It
    /// returns what it has done: unless it has kept the state, it may have moved it away. Keys in the order in which
    /// they came, `kTogether` indexes at a time; `reach(first)` is called before those from `first` on.
    template <class Reach, class Change>
    void updateAll(Reach&& reach, Change&& change) {
        Room items;
        std::vector<Copied*> changed;
        changed.reserve(kPiece);
        constexpr uint32_t kPerLine = std::max<std::size_t>(1, 64 / sizeof(Entry));
        const Segment* next = nullptr;  // comes into the cache meanwhile
        for (uint32_t begin = 0; copy(begin, items, next); begin += kPiece) {
            changed.clear();
            reach(begin);
            for (Copied& item : items.all()) {
                if (item.index % kPerLine == 0) __builtin_prefetch(next->data() + item.index % kPiece);
                item.verdict = change(item.index, std::as_const(item.key), item.state);
                if (item.verdict != Verdict::kKept) changed.push_back(&item);
            }
            if (!changed.empty()) apply(changed);
        }
    }

    /// Numbers of keys for `updateAll`, below `numIndexes()`; kNoIndex for a key without a state.
    static constexpr uint32_t kNoIndex = kNone;
    template <class KeyAt>
    std::vector<uint32_t> locate(std::size_t n, KeyAt&& keyAt) const {
        std::vector<uint32_t> indexes(n, kNoIndex);
        std::array<Place, kPiece> places;
        const VersionedTable& table = *table_;
        for (std::size_t begin = 0; begin < n; begin += kPiece) {
            const std::size_t size = std::min(kPiece, n - begin);
            for (std::size_t i = 0; i < size; ++i) places[i].hash = hashOf(keyAt(begin + i));
            const std::shared_lock lock(table.mutex_);
            checkActive();
            table.locateAll(
                std::span<Place>(places).first(size), [&](std::size_t i) -> auto& { return keyAt(begin + i); });
            for (std::size_t i = 0; i < size; ++i) {
                const uint32_t index = places[i].index;
                if (index != kNone && (table.entry(index).flags & kLive)) indexes[begin + i] = index;
            }
        }
        return indexes;
    }
    std::size_t numIndexes() const {
        const std::shared_lock lock(table_->mutex_);
        return table_->count_;
    }

    /// Calls `last(key, state)` for every key that was set before `time`, and removes it. Looks at these keys and at
    /// those that seemed due but were set again since, at none else. Of a timed table.
    template <class Last>
    void expire(int64_t time, Last&& last) {
        struct Item {
            uint32_t index;
            K key;
            S state;
        };
        VersionedTable& table = *table_;
        std::vector<uint32_t> due;
        {
            const std::shared_lock lock(table.mutex_);
            checkActive();
            for (auto at = table.byTime_.begin(); at != table.byTime_.lower_bound(time); ++at)
                due.insert(due.end(), at->second.begin(), at->second.end());
        }
        expiredBefore_ = time;
        std::vector<Item> items;
        for (std::size_t i = 0; i < due.size();) {
            items.clear();
            {
                const std::shared_lock lock(table.mutex_);
                checkActive();
                for (const std::size_t end = std::min(due.size(), i + kPiece); i < end; ++i) {
                    const Entry& at = table.entry(due[i]);
                    if ((at.flags & kLive) && table.updated(due[i]) < time)
                        items.push_back(Item{due[i], at.key, at.state});
                }
            }
            for (Item& item : items) last(std::as_const(item.key), std::as_const(item.state));
            const std::unique_lock lock(table.mutex_);
            checkActive();
            for (const Item& item : items) table.change(item.index, std::nullopt);
        }
    }

    /// Sets states as a snapshot has them.
    /// @param updated  the numbers of the versions that set them; may be empty
    void load(const std::vector<K>& keys, std::vector<S>& states, const std::vector<int64_t>& updated) {
        constexpr std::size_t kAhead = 16;
        VersionedTable& table = *table_;
        const std::unique_lock lock(table.mutex_);
        checkActive();
        table.reserve(table.used_ + keys.size());
        std::array<uint32_t, kAhead> hashes;  // of the next keys
        for (std::size_t i = 0; i < keys.size() + kAhead; ++i) {
            if (i >= kAhead) {
                const std::size_t at = i - kAhead;
                const uint32_t hash = hashes[at % kAhead];
                uint32_t index = table.locate(keys[at], hash);
                if (index == kNone) index = table.insert(keys[at], hash);
                table.change(index, std::optional<S>(std::move(states[at])));
                if (!updated.empty()) table.setUpdated(index, updated[at]);
            }
            if (i < keys.size()) {
                hashes[i % kAhead] = hashOf(keys[i]);
                __builtin_prefetch(&table.slots_[table.home(hashes[i % kAhead])]);
            }
        }
    }
    /// Makes room for so many keys in all.
    void reserve(std::size_t keys) {
        const std::unique_lock lock(table_->mutex_);
        checkActive();
        table_->reserve(keys);
    }

    /// Makes the version, which is the newest from now on.
    /// @param outputs  kept with the version: for a second attempt that comes too late
    VersionPtr commit(std::shared_ptr<const void> outputs = nullptr) {
        const Ptr table = table_;
        const std::unique_lock lock(table->mutex_);
        checkActive();
        if (table->timed_) {
            for (auto at = table->byTime_.begin(); expiredBefore_ && at != table->byTime_.lower_bound(*expiredBefore_);
                 at = table->byTime_.erase(at)) {
                for (const uint32_t index : at->second) table->putInIndex(index);
            }
            for (const uint32_t index : table->born_) {
                if (!(table->entry(index).flags & kIndexed)) table->putInIndex(index);
            }
        }
        table->lastRecords_ = table->newest_ - table->firstRecord_;
        table->versions_.push_back({table->to_, table->newest_, table->size_, 0, std::move(outputs)});
        VersionPtr version = table->hold(table->versions_.back());
        table->end();
        table_ = nullptr;
        return version;
    }

private:
    friend class VersionedTable;
    Attempt(Ptr table, uint64_t id) : table_(std::move(table)), id_(id) {}
    void checkActive() const {
        if (table_->active_ != id_) throw AttemptSuperseded();
    }

    // What `update` and `updateAll` do that does not depend on the functions they are given.

    /// A key of `update`, and its state once it has been found.
    template <class Key>
    struct Wanted : Place {
        Wanted(const Key* at, uint32_t hashed) : Place{hashed}, key(at) {}
        const Key* key;
        bool changed = false;
        std::optional<S> state;
    };
    template <class Key>
    void find(std::vector<Wanted<Key>>& items) const {
        const VersionedTable& table = *table_;
        const std::shared_lock lock(table.mutex_);
        checkActive();
        table.locateAll(
            std::span<Wanted<Key>>(items), [&](std::size_t i) -> auto& { return *items[i].key; });
        for (auto& item : items) {
            if (item.index == kNone) continue;
            const Entry& at = table.entry(item.index);
            if (at.flags & kLive) item.state.emplace(at.state);
        }
    }
    template <class Key>
    void apply(std::vector<Wanted<Key>>& items) {
        VersionedTable& table = *table_;
        const std::unique_lock lock(table.mutex_);
        checkActive();
        for (auto& item : items) {
            if (!item.changed) continue;
            if (item.index == kNone) {
                if (!item.state) continue;
                item.index = table.insert(*item.key, item.hash);
            }
            table.change(item.index, std::move(item.state));
        }
    }

    /// A key of `updateAll` with its state.
    struct Copied {
        K key;
        S state;
        uint32_t index;
        Verdict verdict;
    };
    /// Room for those of a piece. Unlike a vector's, its end stays in a register while they are added.
    class Room {
    public:
        Room() = default;
        ~Room() {
            clear();
            std::allocator<Copied>().deallocate(items_, kPiece);
        }
        Room(const Room&) = delete;
        Room& operator=(const Room&) = delete;
        void add(Copied item) { std::construct_at(items_ + size_++, std::move(item)); }
        std::span<Copied> all() { return {items_, size_}; }
        void clear() { std::destroy_n(items_, std::exchange(size_, 0)); }

    private:
        Copied* const items_ = std::allocator<Copied>().allocate(kPiece);
        std::size_t size_ = 0;
    };

    /// Copies the keys of the segment that begins at `begin`; false when there is none.
    /// @param next  the segment after it
    bool copy(uint32_t begin, Room& items, const Segment*& next) const {
        const VersionedTable& table = *table_;
        items.clear();
        const std::shared_lock lock(table.mutex_);
        checkActive();
        if (begin >= table.count_) return false;
        const uint32_t end = static_cast<uint32_t>(std::min<std::size_t>(begin + kPiece, table.count_));
        const Segment& entries = *table.segments_[begin / kPiece];
        next = end < table.count_ ? table.segments_[end / kPiece] : &entries;
        for (uint32_t index = begin; index < end; ++index) {
            const Entry& at = entries[index - begin];
            if (at.flags & kLive) items.add(Copied{at.key, at.state, index, Verdict::kKept});
        }
        return true;
    }
    void apply(const std::vector<Copied*>& changed) {
        VersionedTable& table = *table_;
        const std::unique_lock lock(table.mutex_);
        checkActive();
        for (Copied* const item : changed) {
            table.change(item->index,
                         item->verdict == Verdict::kSet ? std::optional<S>(std::move(item->state)) : std::nullopt);
        }
    }

    Ptr table_;
    const uint64_t id_;
    std::optional<int64_t> expiredBefore_;
};

}  // namespace dstream::detail
