#include "functions.hpp"

#include "rdd/task_context.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

namespace conformance {

using nlohmann::json;

namespace {

/// A function written down: its name and arguments.
struct Spec {
    explicit Spec(const json& written) : arguments(written.is_array() ? written : json::array({written})) {
        if (arguments.empty() || !arguments[0].is_string()) throw CaseError("no function: " + written.dump());
        name = arguments[0].get<std::string>();
    }
    const json& argument(size_t index) const {
        if (index >= arguments.size()) {
            throw CaseError("function " + name + " needs argument " + std::to_string(index));
        }
        return arguments[index];
    }
    Value value() const { return parseValue(argument(1)); }
    int64_t integer() const { return value().integer(); }
    std::string text() const { return value().text(); }

    json arguments;
    std::string name;
};

/// `v`, as an int or a double as `x` is when it is the same number.
Value likeness(const Value& v, const Value& x) {
    if (v.isNumber() && x.isNumber() && v.kind() != x.kind() && v.real() == x.real()) return x;
    return v;
}

template <class F>
using Table = std::map<std::string, std::function<F(const Spec&)>>;

template <class F>
F look(const Table<F>& table, const char* what, const json& written) {
    const Spec spec(written);
    const auto found = table.find(spec.name);
    if (found == table.end()) throw CaseError(std::string("unknown ") + what + ": " + written.dump());
    return found->second(spec);
}

Value arithmetic(const Value& a, const Value& b, int64_t (*ints)(int64_t, int64_t), double (*reals)(double, double)) {
    if (a.kind() == Value::Kind::kTuple && b.kind() == Value::Kind::kTuple && a.items().size() == b.items().size()) {
        Values parts;
        for (size_t i = 0; i < a.items().size(); ++i) {
            parts.push_back(arithmetic(a.items()[i], b.items()[i], ints, reals));
        }
        return Value::tuple(std::move(parts));
    }
    if (a.kind() == Value::Kind::kInt && b.kind() == Value::Kind::kInt) return Value(ints(a.integer(), b.integer()));
    return Value(reals(a.real(), b.real()));
}

// Ints wrap around as those of the reference do.
int64_t wrapped(uint64_t value) {
    return static_cast<int64_t>(value);
}

}  // namespace

Value add(const Value& a, const Value& b) {
    return arithmetic(
        a, b, [](int64_t x, int64_t y) { return wrapped(uint64_t(x) + uint64_t(y)); },
        [](double x, double y) { return x + y; });
}

namespace {

Value sub(const Value& a, const Value& b) {
    return arithmetic(
        a, b, [](int64_t x, int64_t y) { return wrapped(uint64_t(x) - uint64_t(y)); },
        [](double x, double y) { return x - y; });
}
Value mul(const Value& a, const Value& b) {
    return arithmetic(
        a, b, [](int64_t x, int64_t y) { return wrapped(uint64_t(x) * uint64_t(y)); },
        [](double x, double y) { return x * y; });
}

Value sum(const Values& values) {
    Value total(0);
    for (const Value& value : values) total = add(total, value);
    return total;
}

std::string transformed(std::string text, int (*f)(int)) {
    for (char& c : text) c = static_cast<char>(f(static_cast<unsigned char>(c)));
    return text;
}

Values sortedValues(Values items) {
    std::stable_sort(items.begin(), items.end());
    return items;
}

const Value& largest(const Values& items) {
    if (items.empty()) throw UserFunctionError("max_of nothing");
    return *std::max_element(items.begin(), items.end());
}

Values distinctSorted(const Values& items) {
    const std::set<Value> distinct(items.begin(), items.end());
    return {distinct.begin(), distinct.end()};
}

Values concatenated(Values first, const Values& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

Value number(size_t count) {
    return Value(static_cast<int64_t>(count));
}

int64_t parseInt(const std::string& text) {
    try {
        size_t used = 0;
        const int64_t value = std::stoll(text, &used);
        if (used == text.size()) return value;
    } catch (const std::exception&) {
    }
    throw UserFunctionError("not an int: " + text);
}

template <class F>
auto constant(F f) {
    return [f](const Spec&) { return f; };
}

using Unary = std::function<Value(const Value&)>;
using Many = std::function<Values(const Value&)>;
using Binary = std::function<Value(const Value&, const Value&)>;
using Partition = std::function<Values(const Values&)>;

Unary unary(const json& written);

Unary sequence(const Spec& spec) {
    std::vector<Unary> steps;
    for (size_t i = 1; i < spec.arguments.size(); ++i) steps.push_back(unary(spec.argument(i)));
    return [steps](const Value& x) {
        Value result = x;
        for (const Unary& step : steps) result = step(result);
        return result;
    };
}

Unary unary(const json& written) {
    static const Table<Unary> kTable = {
        {"identity", constant([](const Value& x) { return x; })},
        {"length", constant([](const Value& x) { return number(x.text().size()); })},
        {"to_upper", constant([](const Value& x) { return Value(transformed(x.text(), std::toupper)); })},
        {"to_lower", constant([](const Value& x) { return Value(transformed(x.text(), std::tolower)); })},
        {"first_char", constant([](const Value& x) { return Value(x.text().substr(0, 1)); })},
        {"to_string", constant([](const Value& x) { return Value(std::to_string(x.integer())); })},
        {"parse_int", constant([](const Value& x) { return Value(parseInt(x.text())); })},
        {"to_double", constant([](const Value& x) { return Value(x.real()); })},
        {"negate", constant([](const Value& x) { return sub(Value(0), x); })},
        {"square", constant([](const Value& x) { return mul(x, x); })},
        {"plus", [](const Spec& s) { return [n = s.value()](const Value& x) { return add(x, n); }; }},
        {"times", [](const Spec& s) { return [n = s.value()](const Value& x) { return mul(x, n); }; }},
        {"mod",
         [](const Spec& s) {
             return [n = s.integer()](const Value& x) { return Value(((x.integer() % n) + n) % n); };
         }},
        {"append", [](const Spec& s) { return [t = s.text()](const Value& x) { return Value(x.text() + t); }; }},
        {"const", [](const Spec& s) { return [v = s.value()](const Value&) { return v; }; }},
        {"to_pair_1", constant([](const Value& x) { return Value::pair(x, Value(1)); })},
        {"pair_self", constant([](const Value& x) { return Value::pair(x, x); })},
        {"key_by",
         [](const Spec& s) { return [f = unary(s.argument(1))](const Value& x) { return Value::pair(f(x), x); }; }},
        {"pair_swap", constant([](const Value& x) { return Value::pair(x.second(), x.first()); })},
        {"first", constant([](const Value& x) { return x.first(); })},
        {"second", constant([](const Value& x) { return x.second(); })},
        {"of_key", [](const Spec& s) { return [f = unary(s.argument(1))](const Value& x) { return f(x.first()); }; }},
        {"of_value",
         [](const Spec& s) { return [f = unary(s.argument(1))](const Value& x) { return f(x.second()); }; }},
        {"on_key",
         [](const Spec& s) {
             return [f = unary(s.argument(1))](const Value& x) { return Value::pair(f(x.first()), x.second()); };
         }},
        {"on_value",
         [](const Spec& s) {
             return [f = unary(s.argument(1))](const Value& x) { return Value::pair(x.first(), f(x.second())); };
         }},
        {"seq", sequence},
        {"sum_pair", constant([](const Value& x) { return add(x.first(), x.second()); })},
        {"sum_list", constant([](const Value& x) { return sum(x.items()); })},
        {"list_size", constant([](const Value& x) { return number(x.items().size()); })},
        {"sort_list", constant([](const Value& x) { return Value::list(sortedValues(x.items())); })},
        {"max_of", constant([](const Value& x) { return largest(x.items()); })},
        {"or_else",
         [](const Spec& s) {
             return [v = s.value()](const Value& x) { return x.items().empty() ? v : x.items()[0]; };
         }},
        {"is_defined", constant([](const Value& x) { return Value(!x.items().empty()); })},
        {"is_even", constant([](const Value& x) { return Value(x.integer() % 2 == 0); })},
        {"is_odd", constant([](const Value& x) { return Value(x.integer() % 2 != 0); })},
        {"positive", constant([](const Value& x) { return Value(x.real() > 0); })},
        {"nonzero", constant([](const Value& x) { return Value(x.real() != 0); })},
        {"nonempty", constant([](const Value& x) {
             return Value(x.kind() == Value::Kind::kText ? !x.text().empty() : !x.items().empty());
         })},
        {"gt", [](const Spec& s) { return [v = s.value()](const Value& x) { return Value(x > likeness(v, x)); }; }},
        {"lt", [](const Spec& s) { return [v = s.value()](const Value& x) { return Value(x < likeness(v, x)); }; }},
        {"eq", [](const Spec& s) { return [v = s.value()](const Value& x) { return Value(x == likeness(v, x)); }; }},
        {"not",
         [](const Spec& s) { return [f = unary(s.argument(1))](const Value& x) { return Value(!f(x).boolean()); }; }},
        {"always", constant([](const Value&) { return Value(true); })},
        {"never", constant([](const Value&) { return Value(false); })},
        {"starts_with",
         [](const Spec& s) { return [t = s.text()](const Value& x) { return Value(x.text().starts_with(t)); }; }},
        {"len_gt",
         [](const Spec& s) {
             return [n = s.integer()](const Value& x) { return Value(static_cast<int64_t>(x.text().size()) > n); };
         }},
        {"fail_on",
         [](const Spec& s) {
             return [v = s.value()](const Value& x) {
                 if (x == likeness(v, x)) throw UserFunctionError("fail_on " + v.notation());
                 return x;
             };
         }},
        {"fail_first_attempt", constant([](const Value& x) {
             const auto* const task = dstream::TaskContext::get();
             if (task == nullptr) throw CaseError("fail_first_attempt ran outside of a task");
             if (task->attemptNumber() == 0) throw UserFunctionError("fail_first_attempt");
             return x;
         })},
    };
    return look(kTable, "function", written);
}

Many many(const json& written) {
    static const Table<Many> kTable = {
        {"split_ws", constant([](const Value& x) {
             Values words;
             const std::string& text = x.text();
             for (size_t begin = 0; begin < text.size();) {
                 const size_t end = std::min(text.find(' ', begin), text.size());
                 if (end > begin) words.emplace_back(text.substr(begin, end - begin));
                 begin = end + 1;
             }
             return words;
         })},
        {"chars", constant([](const Value& x) {
             Values chars;
             for (const char c : x.text()) chars.emplace_back(std::string(1, c));
             return chars;
         })},
        {"dup", constant([](const Value& x) {
             return Values{x, x};
         })},
        {"none", constant([](const Value&) { return Values{}; })},
        {"range", constant([](const Value& x) {
             Values numbers;
             for (int64_t i = 0; i < x.integer(); ++i) numbers.emplace_back(i);
             return numbers;
         })},
        {"copies", constant([](const Value& x) { return Values(std::max<int64_t>(x.integer(), 0), x); })},
        {"keep_if",
         [](const Spec& s) {
             return [p = unary(s.argument(1))](const Value& x) { return p(x).boolean() ? Values{x} : Values{}; };
         }},
        {"flatten", constant([](const Value& x) { return x.items(); })},
        {"key_and_value", constant([](const Value& x) {
             return Values{x.first(), x.second()};
         })},
    };
    return look(kTable, "function to many values", written);
}

Binary binary(const json& written) {
    static const Table<Binary> kTable = {
        {"add", constant(add)},
        {"sub", constant(sub)},
        {"mul", constant(mul)},
        {"max", constant([](const Value& a, const Value& b) { return a < b ? b : a; })},
        {"min", constant([](const Value& a, const Value& b) { return b < a ? b : a; })},
        {"merge_sorted", constant([](const Value& a, const Value& b) {
             std::string text = a.text() + b.text();
             std::sort(text.begin(), text.end());
             return Value(std::move(text));
         })},
        {"count_one", constant([](const Value& count, const Value&) { return add(count, Value(1)); })},
        {"add_len", constant([](const Value& total, const Value& x) { return add(total, number(x.text().size())); })},
        {"fail", constant([](const Value&, const Value&) -> Value { throw UserFunctionError("fail"); })},
    };
    return look(kTable, "function of two values", written);
}

Partition partition(const json& written) {
    static const Table<Partition> kTable = {
        {"part_sum", constant([](const Values& part) { return Values{sum(part)}; })},
        {"part_count", constant([](const Values& part) { return Values{number(part.size())}; })},
        {"part_list", constant([](const Values& part) { return Values{Value::list(part)}; })},
        {"part_max", constant([](const Values& part) { return part.empty() ? Values{} : Values{largest(part)}; })},
        {"part_reverse", constant([](const Values& part) { return Values(part.rbegin(), part.rend()); })},
        {"part_sort", constant([](const Values& part) { return sortedValues(part); })},
        {"part_first", constant([](const Values& part) { return part.empty() ? Values{} : Values{part[0]}; })},
        {"part_cumsum", constant([](const Values& part) {
             Values totals;
             for (const Value& value : part) totals.push_back(totals.empty() ? value : add(totals.back(), value));
             return totals;
         })},
    };
    return look(kTable, "partition function", written);
}

const Combiner& combinerNamed(const std::string& name) {
    static const std::map<std::string, Combiner> kTable = {
        {"sum_count",
         {{[](const Value& v) { return Value::pair(v, Value(1)); }},
          {[](const Value& c, const Value& v) { return Value::pair(add(c.first(), v), add(c.second(), Value(1))); }},
          {add}}},
        {"bag",
         {{[](const Value& v) { return Value::bag({v}); }},
          {[](const Value& c, const Value& v) { return Value::bag(concatenated(c.items(), {v})); }},
          {[](const Value& c, const Value& d) { return Value::bag(concatenated(c.items(), d.items())); }}}},
        {"set",
         {{[](const Value& v) { return Value::bag({v}); }},
          {[](const Value& c, const Value& v) { return Value::bag(distinctSorted(concatenated(c.items(), {v}))); }},
          {[](const Value& c, const Value& d) {
              return Value::bag(distinctSorted(concatenated(c.items(), d.items())));
          }}}},
        {"min_max",
         {{[](const Value& v) { return Value::pair(v, v); }},
          {[](const Value& c, const Value& v) { return Value::pair(std::min(c.first(), v), std::max(c.second(), v)); }},
          {[](const Value& c, const Value& d) {
              return Value::pair(std::min(c.first(), d.first()), std::max(c.second(), d.second()));
          }}}},
    };
    const auto found = kTable.find(name);
    if (found == kTable.end()) throw CaseError("unknown combiner: " + name);
    return found->second;
}

const Value kZero(0);

/// An update of (new values, state) alone.
template <class F>
auto plain(F f) {
    return constant([f](int64_t, const Value&, const Values& values, const MaybeValue& state) -> MaybeValue {
        return f(values, state);
    });
}

MaybeValue sumAndIdle(const Values& values, const MaybeValue& state, std::optional<int64_t> expireAt) {
    const Value old = state.value_or(Value::pair(kZero, kZero));
    const Value idle = values.empty() ? add(old.second(), Value(1)) : kZero;
    if (expireAt && idle.integer() >= *expireAt) return std::nullopt;
    return Value::pair(add(old.first(), sum(values)), idle);
}

Value oldPlusSum(const Values& values, const MaybeValue& state) {
    return add(state.value_or(kZero), sum(values));
}

IteratorUpdateFunction eachTotal(std::function<bool(const Value& key, const Value& total)> keep) {
    return [keep = std::move(keep)](const std::vector<KeyedUpdate>& updates) {
        std::vector<Pair> result;
        for (const KeyedUpdate& update : updates) {
            Value total = oldPlusSum(update.values, update.state);
            if (keep(update.key, total)) result.emplace_back(update.key, std::move(total));
        }
        return result;
    };
}

/// One call of a mapWithState function, with the values that nearly all of them are written in.
struct Call {
    int64_t timeMs;
    const Value& key;
    const MaybeValue& value;
    StateAccess& state;
    Value old = state.exists() ? state.get() : kZero;
    Value v = value.value_or(kZero);
    // Only a number adds up; a function that keeps something else does not ask for it.
    Value total() const { return add(old, v); }
    void updateUnlessTimingOut(const Value& next) const {
        if (!state.isTimingOut()) state.update(next);
    }
    Value emit(Value part) const { return Value::pair(key, std::move(part)); }
};

template <class F>
auto onCall(F f) {
    return constant([f](int64_t timeMs, const Value& key, const MaybeValue& value, StateAccess& state) -> MaybeValue {
        return f(Call{timeMs, key, value, state});
    });
}

MaybeValue removeAt(const Call& c, int64_t limit) {
    const Value total = c.total();
    if (c.state.isTimingOut()) return c.emit(Value::pair(total, Value("timeout")));
    if (total.integer() >= limit) {
        if (c.state.exists()) c.state.remove();
        return c.emit(Value::pair(total, Value("removed")));
    }
    c.state.update(total);
    return c.emit(Value::pair(total, Value("kept")));
}

}  // namespace

Fn1 parseFn1(const json& spec) {
    return {unary(spec)};
}
FnMany parseFnMany(const json& spec) {
    return {many(spec)};
}
Fn2 parseFn2(const json& spec) {
    return {binary(spec)};
}
FnPartition parseFnPartition(const json& spec) {
    return {partition(spec)};
}

FnPartitionWithIndex parseFnPartitionWithIndex(const json& spec) {
    using F = std::function<Values(int, const Values&)>;
    static const Table<F> kTable = {
        {"tag_index", constant([](int index, const Values& part) {
             Values tagged;
             for (const Value& value : part) tagged.push_back(Value::pair(Value(index), value));
             return tagged;
         })},
        {"index_count", constant([](int index, const Values& part) {
             return Values{Value::pair(Value(index), number(part.size()))};
         })},
        {"keep_index",
         [](const Spec& s) {
             return [kept = s.integer()](int index, const Values& part) { return index == kept ? part : Values{}; };
         }},
    };
    return {look(kTable, "partition function with index", spec)};
}

FnTwoPartitions parseFnTwoPartitions(const json& spec) {
    using F = std::function<Values(const Values&, const Values&)>;
    static const Table<F> kTable = {
        {"zip_counts", constant([](const Values& a, const Values& b) {
             return Values{Value::pair(number(a.size()), number(b.size()))};
         })},
        {"zip_concat", constant([](const Values& a, const Values& b) { return concatenated(a, b); })},
    };
    return {look(kTable, "function of two partitions", spec)};
}

Combiner parseCombiner(const json& spec) {
    return combinerNamed(Spec(spec).name);
}

UpdateFunction parseUpdate(const json& spec) {
    static const Table<UpdateFunction> kTable = {
        {"running_sum", plain([](const Values& values, const MaybeValue& state) { return oldPlusSum(values, state); })},
        {"running_sum_drop_zero", plain([](const Values& values, const MaybeValue& state) {
             const Value total = oldPlusSum(values, state);
             return total.real() == 0 ? std::nullopt : MaybeValue(total);
         })},
        {"running_count", plain([](const Values& values, const MaybeValue& state) {
             return add(state.value_or(kZero), number(values.size()));
         })},
        {"running_max", plain([](Values values, const MaybeValue& state) {
             if (state) values.push_back(*state);
             return values.empty() ? std::nullopt : MaybeValue(largest(values));
         })},
        {"sum_drop_idle", plain([](const Values& values, const MaybeValue& state) {
             return values.empty() ? std::nullopt : MaybeValue(oldPlusSum(values, state));
         })},
        {"sum_until",
         [](const Spec& s) {
             return [n = s.value()](int64_t, const Value&, const Values& values, const MaybeValue& state) {
                 const Value total = oldPlusSum(values, state);
                 return total < n ? MaybeValue(total) : std::nullopt;
             };
         }},
        {"last_batch_count", plain([](const Values& values, const MaybeValue&) { return number(values.size()); })},
        {"sum_and_idle",
         plain([](const Values& values, const MaybeValue& state) { return sumAndIdle(values, state, std::nullopt); })},
        {"expire_idle",
         [](const Spec& s) {
             return [n = s.integer()](int64_t, const Value&, const Values& values, const MaybeValue& state) {
                 return sumAndIdle(values, state, n);
             };
         }},
        {"update_fail_on_empty", plain([](const Values& values, const MaybeValue&) {
             if (values.empty()) throw UserFunctionError("update_fail_on_empty");
             return number(values.size());
         })},
        {"weighted_by_time",
         constant([](int64_t timeMs, const Value&, const Values& values, const MaybeValue& state) -> MaybeValue {
             return add(state.value_or(kZero), mul(sum(values), Value(timeMs / 1000)));
         })},
        {"sum_plus_key_len",
         constant([](int64_t, const Value& key, const Values& values, const MaybeValue& state) -> MaybeValue {
             return add(oldPlusSum(values, state), number(key.text().size()));
         })},
        {"drop_even_seconds",
         constant([](int64_t timeMs, const Value&, const Values& values, const MaybeValue& state) -> MaybeValue {
             if (timeMs / 1000 % 2 == 0 && values.empty()) return std::nullopt;
             return oldPlusSum(values, state);
         })},
    };
    return look(kTable, "update function", spec);
}

IteratorUpdateFunction parseIteratorUpdate(const json& spec) {
    static const Table<IteratorUpdateFunction> kTable = {
        {"iter_sum", [](const Spec&) { return eachTotal([](const Value&, const Value&) { return true; }); }},
        {"iter_drop_key",
         [](const Spec& s) {
             return eachTotal([dropped = s.value()](const Value& key, const Value&) { return key != dropped; });
         }},
        {"iter_keep_top",
         [](const Spec&) { return eachTotal([](const Value&, const Value& total) { return total.real() > 0; }); }},
    };
    return look(kTable, "iterator update function", spec);
}

StateFunction parseStateFunction(const json& spec) {
    static const Table<StateFunction> kTable = {
        {"ms_sum", onCall([](const Call& c) {
             c.updateUnlessTimingOut(c.total());
             return c.emit(c.total());
         })},
        {"ms_total_only", onCall([](const Call& c) {
             c.updateUnlessTimingOut(c.total());
             return c.total();
         })},
        {"ms_sum_flag", onCall([](const Call& c) {
             c.updateUnlessTimingOut(c.total());
             return c.emit(Value::pair(c.total(), Value(c.state.isTimingOut())));
         })},
        {"ms_time", onCall([](const Call& c) {
             c.updateUnlessTimingOut(c.total());
             return c.emit(Value::pair(Value(c.timeMs), c.total()));
         })},
        {"ms_exists", onCall([](const Call& c) {
             const bool existed = c.state.exists();
             const Value calls = add(c.old, Value(1));
             c.updateUnlessTimingOut(calls);
             return c.emit(Value::pair(Value(existed), calls));
         })},
        {"ms_prev", onCall([](const Call& c) {
             const Value previous = Value::optional(c.state.exists() ? MaybeValue(c.old) : std::nullopt);
             if (c.value) c.updateUnlessTimingOut(*c.value);
             return c.emit(previous);
         })},
        {"ms_even_only", onCall([](const Call& c) {
             c.updateUnlessTimingOut(c.total());
             return c.total().integer() % 2 == 0 ? MaybeValue(c.emit(c.total())) : std::nullopt;
         })},
        {"ms_none", onCall([](const Call& c) -> MaybeValue {
             c.updateUnlessTimingOut(c.total());
             return std::nullopt;
         })},
        {"ms_remove_at",
         [](const Spec& s) {
             return [n = s.integer()](int64_t timeMs, const Value& key, const MaybeValue& value, StateAccess& state) {
                 return removeAt(Call{timeMs, key, value, state}, n);
             };
         }},
        {"ms_skip_negative", onCall([](const Call& c) {
             if (c.v.real() < 0 || c.state.isTimingOut()) return c.emit(Value::pair(c.old, Value("read")));
             c.state.update(c.total());
             return c.emit(Value::pair(c.total(), Value("write")));
         })},
        {"ms_value_present", onCall([](const Call& c) {
             c.updateUnlessTimingOut(c.total());
             return c.emit(Value::pair(Value(c.value.has_value()), c.total()));
         })},
        {"ms_get_absent",
         constant([](int64_t, const Value& key, const MaybeValue& value, StateAccess& state) -> MaybeValue {
             const Value total = add(state.get(), value.value_or(kZero));
             if (!state.isTimingOut()) state.update(total);
             return Value::pair(key, total);
         })},
        {"ms_update_after_remove", onCall([](const Call& c) {
             c.state.update(Value(1));
             c.state.remove();
             c.state.update(Value(2));
             return c.emit(c.total());
         })},
        {"ms_update_timing_out", onCall([](const Call& c) {
             c.state.update(c.total());
             return c.emit(c.total());
         })},
        {"ms_remove_timing_out", onCall([](const Call& c) {
             if (c.state.isTimingOut()) {
                 c.state.remove();
             } else {
                 c.state.update(c.total());
             }
             return c.emit(c.total());
         })},
    };
    return look(kTable, "mapWithState function", spec);
}

}  // namespace conformance
