#include "dstream/versioned_table.hpp"

#include "dstream/state_node.hpp"
#include "rdd/exceptions.hpp"
#include "stream_test.hpp"
#include "support/sanitizers.hpp"

#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>

namespace dstream::detail {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

using Numbers = VersionedTable<int64_t, int64_t>;
using Texts = VersionedTable<std::string, std::string>;

template <class Table, class K, class S>
typename Table::VersionPtr write(const std::shared_ptr<Table>& table, int64_t to,
                                 const std::vector<std::pair<K, std::optional<S>>>& changes) {
    auto attempt = table->begin(table->head(), to);
    attempt->update(
        changes.size(), [&](std::size_t i) -> const K& { return changes[i].first; },
        [&](std::size_t i, std::optional<S>& state) {
            state = changes[i].second;
            return true;
        });
    return attempt->commit();
}

Numbers::VersionPtr writeNumbers(const std::shared_ptr<Numbers>& table, int64_t to,
                                 const std::vector<std::pair<int64_t, std::optional<int64_t>>>& changes) {
    return write<Numbers, int64_t, int64_t>(table, to, changes);
}

template <class Version>
auto contents(const Version& version) {
    using Table = typename std::remove_cvref_t<decltype(*version->table())>;
    return [&]<class K, class S>(const VersionedTable<K, S>*) {
        std::map<K, S> all;
        std::size_t position = 0;
        while (version->read(position, 100, [&](const K& key, const S& state, int64_t) { all.emplace(key, state); })) {
        }
        EXPECT_EQ(all.size(), version->size());
        return all;
    }(static_cast<const Table*>(nullptr));
}

TEST(VersionedTableTest, KeepsHeldVersionsAsTheyWere) {
    auto table = Numbers::make();
    const auto first = writeNumbers(table, 1, {{1, 10}, {2, 20}});
    const auto second = writeNumbers(table, 2, {{1, 11}, {3, 30}});
    const auto third = writeNumbers(table, 3, {{2, std::nullopt}, {3, 31}});
    EXPECT_THAT(contents(first), ElementsAre(Pair(1, 10), Pair(2, 20)));
    EXPECT_THAT(contents(second), ElementsAre(Pair(1, 11), Pair(2, 20), Pair(3, 30)));
    EXPECT_THAT(contents(third), ElementsAre(Pair(1, 11), Pair(3, 31)));
    EXPECT_EQ(first->find(int64_t{1}), 10);
    EXPECT_EQ(third->find(int64_t{1}), 11);
    EXPECT_EQ(second->find(int64_t{2}), 20);
    EXPECT_EQ(third->find(int64_t{2}), std::nullopt);
}

TEST(VersionedTableTest, ForgetsWhatNobodyHolds) {
    auto table = Numbers::make();
    writeNumbers(table, 1, {{1, 10}, {2, 20}});
    auto second = writeNumbers(table, 2, {{1, 11}});
    EXPECT_EQ(table->version(1), nullptr);
    EXPECT_EQ(table->undoRecords(), 0U);
    auto third = writeNumbers(table, 3, {{1, 12}, {2, std::nullopt}});
    EXPECT_EQ(table->undoRecords(), 2U);
    EXPECT_THAT(contents(table->version(2)), ElementsAre(Pair(1, 11), Pair(2, 20)));
    second.reset();
    EXPECT_EQ(table->undoRecords(), 0U);
    EXPECT_EQ(table->version(2), nullptr);
    EXPECT_THAT(contents(third), ElementsAre(Pair(1, 12)));
}

TEST(VersionedTableTest, EachRecordOfAKeySeesWhatThoseBeforeDid) {
    auto table = Numbers::make();
    const std::vector<int64_t> keys(3000, 7);
    std::vector<int64_t> seen;
    auto attempt = table->begin(std::nullopt, 1);
    attempt->update(
        keys.size(), [&](std::size_t i) -> const int64_t& { return keys[i]; },
        [&](std::size_t, std::optional<int64_t>& count) {
            seen.push_back(count.value_or(0));
            count = count.value_or(0) + 1;
            return true;
        });
    EXPECT_THAT(contents(attempt->commit()), ElementsAre(Pair(7, 3000)));
    for (std::size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], static_cast<int64_t>(i));
}

TEST(VersionedTableTest, AnAttemptThatEndsWithoutCommitLeavesNothing) {
    auto table = Texts::make();
    const auto first = write<Texts, std::string, std::string>(table, 1, {{"a", "one"}, {"b", "two"}, {"c", "three"}});
    const auto second = write<Texts, std::string, std::string>(table, 2, {{"c", std::nullopt}, {"d", "four"}});
    const std::size_t records = table->undoRecords();
    {
        auto attempt = table->begin(2, 3);
        const std::vector<std::string> keys{"a", "b", "c", "e", "d"};
        for (int round = 0; round < 2; ++round) {
            attempt->update(
                keys.size(), [&](std::size_t i) -> const std::string& { return keys[i]; },
                [&](std::size_t i, std::optional<std::string>& state) {
                    if (i == 1) {
                        state.reset();
                    } else {
                        state = "changed";
                    }
                    return true;
                });
        }
        EXPECT_THAT(contents(second), ElementsAre(Pair("a", "one"), Pair("b", "two"), Pair("d", "four")));
    }
    EXPECT_EQ(table->head(), 2);
    EXPECT_EQ(table->undoRecords(), records);
    EXPECT_THAT(contents(first), ElementsAre(Pair("a", "one"), Pair("b", "two"), Pair("c", "three")));
    EXPECT_THAT(contents(second), ElementsAre(Pair("a", "one"), Pair("b", "two"), Pair("d", "four")));
    const auto third = write<Texts, std::string, std::string>(table, 3, {{"c", "again"}, {"e", "new"}});
    EXPECT_THAT(contents(third), ElementsAre(Pair("a", "one"), Pair("b", "two"), Pair("c", "again"), Pair("d", "four"),
                                             Pair("e", "new")));
}

TEST(VersionedTableTest, AVersionIsWrittenFromTheOneBeforeOnly) {
    auto table = Numbers::make();
    const auto first = writeNumbers(table, 1, {{1, 10}});
    EXPECT_FALSE(table->begin(std::nullopt, 2));
    const auto second = writeNumbers(table, 2, {{1, 11}});
    EXPECT_FALSE(table->begin(1, 2));
    EXPECT_TRUE(table->version(2));

    auto fork = first->copy();
    EXPECT_EQ(fork->number(), 1);
    writeNumbers(fork->table(), 2, {{1, 99}});
    EXPECT_THAT(contents(second), ElementsAre(Pair(1, 11)));
}

TEST(VersionedTableTest, ACopyOfATaskTakesOverFromTheAttemptBefore) {
    auto table = Numbers::make();
    const auto first = writeNumbers(table, 1, {{1, 10}});
    const std::vector<int64_t> keys{1, 2};
    const auto keyAt = [&](std::size_t i) -> const int64_t& { return keys[i]; };
    auto slow = table->begin(1, 2, {.task = 5, .attempt = 0});
    slow->update(2, keyAt, [](std::size_t, std::optional<int64_t>& state) {
        state = -1;
        return true;
    });
    auto copy = table->begin(1, 2, {.task = 5, .attempt = 1});
    ASSERT_TRUE(copy);
    EXPECT_THROW(slow->update(2, keyAt, [](std::size_t, std::optional<int64_t>&) { return false; }), AttemptSuperseded);
    slow.reset();
    copy->update(2, keyAt, [](std::size_t, std::optional<int64_t>& state) {
        state = state.value_or(0) + 1;
        return true;
    });
    const auto second = copy->commit(std::make_shared<int>(5));
    EXPECT_THAT(contents(second), ElementsAre(Pair(1, 11), Pair(2, 1)));
    EXPECT_EQ(*static_cast<const int*>(table->version(2)->outputs().get()), 5);
}

TEST(VersionedTableTest, AnotherTaskWaitsForTheOneThatWrites) {
    auto table = Numbers::make();
    auto attempt = table->begin(std::nullopt, 1, {.task = 1, .attempt = 0});
    std::optional<bool> mayWrite;
    std::jthread other([&] { mayWrite = table->begin(std::nullopt, 1, {.task = 2, .attempt = 0}).has_value(); });
    const auto version = attempt->commit();
    other.join();
    EXPECT_EQ(mayWrite, false);
}

TEST(VersionedTableTest, EntriesOfRemovedKeysAreUsedAgain) {
    auto table = Numbers::make();
    Numbers::VersionPtr held;
    std::size_t bytes = 0;
    for (int64_t batch = 1; batch <= 50; ++batch) {
        auto attempt = table->begin(table->head(), batch);
        std::vector<int64_t> keys;
        for (int64_t i = 0; i < 5000; ++i) keys.push_back(batch * 5000 + i);
        for (int64_t i = 0; i < 5000; ++i) keys.push_back((batch - 1) * 5000 + i);
        attempt->update(
            keys.size(), [&](std::size_t i) -> const int64_t& { return keys[i]; },
            [](std::size_t i, std::optional<int64_t>& state) {
                state = i < 5000 ? std::optional<int64_t>(1) : std::nullopt;
                return true;
            });
        held = attempt->commit();
        ASSERT_EQ(held->size(), 5000U);
        if (batch == 5) bytes = table->memoryBytes();
    }
    EXPECT_LE(table->memoryBytes(), bytes);
}

TEST(VersionedTableTest, TellsWhatChangedBetweenTwoVersions) {
    auto table = Numbers::make();
    const auto first = writeNumbers(table, 1, {{1, 10}, {2, 20}, {3, 30}});
    const auto second = writeNumbers(table, 2, {{1, 11}, {4, 40}});
    const auto third = writeNumbers(table, 3, {{1, 12}, {2, std::nullopt}});
    const auto changes = [](const auto& from, const auto& to) {
        std::map<int64_t, std::optional<int64_t>> all;
        to->readChangesSince(*from, [&](int64_t key, const int64_t* state, int64_t) {
            EXPECT_TRUE(all.emplace(key, state ? std::optional(*state) : std::nullopt).second);
        });
        return all;
    };
    EXPECT_THAT(changes(first, third), ElementsAre(Pair(1, 12), Pair(2, std::nullopt), Pair(4, 40)));
    EXPECT_THAT(changes(second, third), ElementsAre(Pair(1, 12), Pair(2, std::nullopt)));
    EXPECT_THAT(changes(third, third), IsEmpty());
}

TEST(VersionedTableTest, FindsIdleKeysWithoutLookingAtTheOthers) {
    auto table = Numbers::make(true);
    Numbers::VersionPtr held;
    const auto batch = [&](int64_t time, const std::vector<int64_t>& keys, std::optional<int64_t> expired,
                           bool commits = true) {
        auto attempt = table->begin(table->head(), time);
        attempt->update(
            keys.size(), [&](std::size_t i) -> const int64_t& { return keys[i]; },
            [&](std::size_t, std::optional<int64_t>& state) {
                state = time;
                return true;
            });
        std::vector<int64_t> gone;
        if (expired) attempt->expire(*expired, [&](int64_t key, int64_t) { gone.push_back(key); });
        if (commits) held = attempt->commit();
        return gone;
    };
    batch(1, {1, 2, 3}, std::nullopt);
    batch(2, {2}, std::nullopt);
    EXPECT_THAT(batch(3, {3}, 2), ElementsAre(1));
    EXPECT_THAT(batch(4, {}, 3, false), ElementsAre(2));
    EXPECT_THAT(batch(4, {}, 3, false), ElementsAre(2));
    EXPECT_THAT(batch(4, {5}, 3), ElementsAre(2));
    EXPECT_THAT(batch(5, {1}, 3), IsEmpty());
    EXPECT_THAT(batch(6, {}, 5), UnorderedElementsAre(3, 5));
    EXPECT_THAT(contents(held), ElementsAre(Pair(1, 5)));
    EXPECT_THAT(batch(7, {}, 6), ElementsAre(1));
    EXPECT_THAT(contents(held), IsEmpty());
}

/// Random batches on a table and on copies of a map: every version that is held must equal its copy.
template <class K, class S, class MakeKey, class MakeState>
void compareWithMaps(uint32_t seed, bool timed, MakeKey makeKey, MakeState makeState) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    using Table = VersionedTable<K, S>;
    std::mt19937 random(seed);
    // The numbers of undo records go past those at which old ones are renewed, and past 32 bits.
    auto table = Table::make(timed, std::array<uint64_t, 3>{0, (1ULL << 30) - 3000, (1ULL << 32) - 3000}.at(seed % 3));
    std::map<K, S> now;
    std::map<K, int64_t> setAt;
    struct Held {
        typename Table::VersionPtr version;
        std::map<K, S> expected;
    };
    std::deque<Held> held;
    for (int64_t time = 1; time <= 50; ++time) {
        const auto before = now;
        const auto timesBefore = setAt;
        const std::size_t n = random() % 1000;
        std::vector<K> keys;
        for (std::size_t i = 0; i < n; ++i) keys.push_back(makeKey(random() % 700));
        auto attempt = table->begin(table->head(), time);
        ASSERT_TRUE(attempt);
        attempt->update(
            n, [&](std::size_t i) -> const K& { return keys[i]; },
            [&](std::size_t i, std::optional<S>& state) {
                const auto found = now.find(keys[i]);
                EXPECT_EQ(state.has_value(), found != now.end());
                if (state && found != now.end()) {
                    EXPECT_EQ(*state, found->second);
                }
                switch (random() % 4) {
                    case 0:
                        return false;
                    case 1:
                        state.reset();
                        now.erase(keys[i]);
                        setAt.erase(keys[i]);
                        return true;
                    default:
                        state = makeState(random());
                        now[keys[i]] = *state;
                        setAt[keys[i]] = time;
                        return true;
                }
            });
        if (random() % 3 == 0) {
            using Verdict = typename VersionedTable<K, S>::Attempt::Verdict;
            attempt->updateAll([](uint32_t) {},
                               [&](uint32_t, const K& key, S& state) {
                                   EXPECT_EQ(now.at(key), state);
                                   switch (random() % 16) {
                                       case 0:
                                           now.erase(key);
                                           setAt.erase(key);
                                           return Verdict::kRemoved;
                                       case 1:
                                           state = makeState(random());
                                           now[key] = state;
                                           setAt[key] = time;
                                           return Verdict::kSet;
                                       default:
                                           return Verdict::kKept;
                                   }
                               });
        }
        if (timed) {
            if (random() % 3 == 0) {
                std::map<K, S> gone;
                attempt->expire(time - 4, [&](const K& key, const S& state) { gone.emplace(key, state); });
                std::map<K, S> expected;
                for (const auto& [key, at] : setAt) {
                    if (at < time - 4) expected.emplace(key, now.at(key));
                }
                EXPECT_EQ(gone, expected);
                for (const auto& [key, state] : gone) {
                    now.erase(key);
                    setAt.erase(key);
                }
            }
        }
        if (random() % 4 == 0) {
            attempt.reset();  // fails
            now = before;
            setAt = timesBefore;
        } else {
            held.push_back({attempt->commit(), now});
        }
        while (held.size() > 1 + random() % 8) held.erase(held.begin() + random() % held.size());
        if (random() % 10 == 0 && !held.empty()) {
            EXPECT_EQ(contents(held.front().version->copy()), held.front().expected);
        }
        for (const Held& one : held) ASSERT_EQ(contents(one.version), one.expected);
        if (held.size() > 1) {
            std::map<K, S> replayed = held.front().expected;
            held.back().version->readChangesSince(*held.front().version, [&](const K& key, const S* state, int64_t) {
                if (state) {
                    replayed[key] = *state;
                } else {
                    replayed.erase(key);
                }
            });
            ASSERT_EQ(replayed, held.back().expected);
        }
    }
}

TEST(VersionedTableTest, RandomBatchesAgreeWithMaps) {
    for (uint32_t seed = 1; seed <= 3; ++seed) {
        const auto number = [](uint32_t n) { return static_cast<int64_t>(n); };
        const auto text = [](uint32_t n) { return std::string(n % 40, 'x') + std::to_string(n); };
        compareWithMaps<int64_t, int64_t>(seed, false, number, number);
        compareWithMaps<int64_t, int64_t>(seed, true, number, number);
        compareWithMaps<std::string, std::string>(seed, true, text, text);
        compareWithMaps<std::string, std::string>(seed, false, text, text);
    }
}

TEST(VersionedTableTest, ReadersSeeOneVersionWhileTheNextIsWritten) {
    auto table = Numbers::make();
    std::vector<int64_t> keys(20000);
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<int64_t>(i);
    std::mutex mutex;
    Numbers::VersionPtr newest;
    const auto writeNext = [&](int64_t to) {
        auto attempt = table->begin(table->head(), to);
        attempt->update(
            keys.size(), [&](std::size_t i) -> const int64_t& { return keys[i]; },
            [&](std::size_t i, std::optional<int64_t>& state) {
                state = to;
                if ((static_cast<int64_t>(i) + to) % 7 == 0) state.reset();
                return true;
            });
        auto version = attempt->commit();
        const std::lock_guard lock(mutex);
        newest = std::move(version);
    };
    writeNext(1);
    std::atomic<bool> done{false};
    std::vector<std::jthread> readers;
    std::atomic<int> wrong{0};
    for (int reader = 0; reader < 2; ++reader) {
        readers.emplace_back([&] {
            do {
                Numbers::VersionPtr version;
                {
                    const std::lock_guard lock(mutex);
                    version = newest;
                }
                std::size_t count = 0;
                std::size_t position = 0;
                while (version->read(position, 1000, [&](int64_t, int64_t state, int64_t) {
                    ++count;
                    if (state != version->number()) ++wrong;
                })) {
                }
                if (count != version->size()) ++wrong;
                if (version->find(int64_t{100}).value_or(version->number()) != version->number()) ++wrong;
            } while (!done);
        });
    }
    for (int64_t to = 2; to <= 20; ++to) writeNext(to);
    done = true;
    readers.clear();
    EXPECT_EQ(wrong, 0);
}

// A power of two, so that the tables are as full as those of the whole sizes.
constexpr int64_t kSmaller = testsupport::kSanitized ? 8 : 1;

double bytesPerEntry(int64_t count, bool timed) {
    constexpr int64_t kChanged = 100'000 / kSmaller;
    std::array<Numbers::Ptr, 2> partitions{Numbers::make(timed), Numbers::make(timed)};
    std::vector<Numbers::VersionPtr> held;
    std::vector<int64_t> keys;
    for (int64_t batch = 0; batch < 2; ++batch) {
        for (std::size_t p = 0; p < partitions.size(); ++p) {
            keys.clear();
            for (int64_t i = 0; i < (batch == 0 ? count : kChanged); ++i) {
                if (static_cast<std::size_t>(i % 2) == p) keys.push_back(i * 7);
            }
            auto attempt = partitions[p]->begin(partitions[p]->head(), batch);
            attempt->update(
                keys.size(), [&](std::size_t i) -> const int64_t& { return keys[i]; },
                [](std::size_t, std::optional<int64_t>& sum) {
                    sum = sum.value_or(0) + 1;
                    return true;
                });
            held.push_back(attempt->commit());
        }
    }
    EXPECT_EQ(partitions[0]->undoRecords() + partitions[1]->undoRecords(), static_cast<std::size_t>(kChanged));
    return static_cast<double>(partitions[0]->memoryBytes() + partitions[1]->memoryBytes()) /
           static_cast<double>(count);
}

TEST(VersionedTableTest, AnEntryOfTwoNumbersTakesAtMost40BytesAnd64WithATimeout) {
    for (int64_t count : {1'000'000, 1'100'000, 5'000'000}) {
        count /= kSmaller;
        const double plain = bytesPerEntry(count, false), timed = bytesPerEntry(count, true);
        EXPECT_LE(plain, 40) << count;
        EXPECT_LE(timed, 64) << count;
        std::cout << count << " entries: " << plain << " and " << timed << " bytes an entry\n";
    }
}

TEST(LiveStateTest, WhatCheckpointsNeedIsLetGoWhenTooManyKeysHaveChanged) {
    constexpr int64_t kKeys = 100'000;
    LiveState<int64_t, int64_t> live(1);
    const auto table = Numbers::make();
    const auto change = [&](int64_t to, int64_t keys) {
        std::vector<std::pair<int64_t, std::optional<int64_t>>> changes;
        for (int64_t key = 0; key < keys; ++key) changes.emplace_back(key, to);
        live.committed(0, writeNumbers(table, to, changes));
    };
    live.keep(1);
    change(1, kKeys);
    ASSERT_TRUE(live.makeBase(1));
    change(2, kKeys / 5);
    live.keep(3);
    change(3, 10);
    EXPECT_NE(live.base(1, 0), nullptr);
    EXPECT_EQ(table->undoRecords(), static_cast<std::size_t>(kKeys / 5 + 10));
    change(4, kKeys / 10);
    EXPECT_EQ(live.base(1, 0), nullptr) << "more than a quarter of the keys";
    EXPECT_EQ(table->undoRecords(), static_cast<std::size_t>(kKeys / 10)) << "those since batch 3";
    change(5, kKeys);
    EXPECT_EQ(table->undoRecords(), 0U);
    EXPECT_FALSE(live.makeBase(3)) << "of batch 3 nothing is kept any more";
}

TEST(LiveStateTest, KeepsWhatManyCheckpointsHaveNotComeToUse) {
    LiveState<int64_t, int64_t> live(1);
    const auto table = Numbers::make();
    for (int64_t batch = 1; batch <= 70; ++batch) {
        live.keep(batch);
        live.committed(0, writeNumbers(table, batch, {{batch, batch}}));
    }
    EXPECT_EQ(table->version(6), nullptr);
    EXPECT_NE(table->version(7), nullptr);
    EXPECT_TRUE(live.makeBase(7));
}

}  // namespace
}  // namespace dstream::detail
