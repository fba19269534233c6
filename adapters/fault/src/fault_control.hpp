#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <random>

#include <terrace/bitmap.hpp>
#include <terrace/fault_adapter.hpp>

namespace terrace {

/// What will go wrong with one call.
class fault_plan {
public:
    explicit fault_plan(std::size_t items) : failed{items}, dropped{items}, corrupted{items} {}

    enum class waiting : std::uint8_t { none, open, deaf };

    nanoseconds delay{0};
    waiting hang = waiting::none;
    std::optional<boost::system::error_code> error; ///< thrown before the call
    std::optional<boost::system::error_code> lost;  ///< thrown after it
    bitmap failed;
    bitmap dropped; ///< and not failed
    bitmap corrupted;
    bool wrong_size = false;
    std::uint64_t noise = 0; ///< chooses the bytes that are corrupted

    /// The items that the wrapped adapter gets to see.
    [[nodiscard]] bitmap passed() const { return ~(failed | dropped); }
};

class fault_control::impl {
public:
    impl(std::uint64_t seed, std::shared_ptr<terrace::clock> clock);
    ~impl();
    impl(const impl&) = delete;
    impl& operator=(const impl&) = delete;

    rule_id add(const fault_rule& rule);
    void remove(rule_id id);
    void clear();
    void release();
    void kill(boost::system::error_code error);
    void revive();
    /// What calls of a dead adapter throw.
    [[nodiscard]] std::optional<boost::system::error_code> death() const;
    [[nodiscard]] fault_counts counts() const;

    /// For one call that begins now. Throws if the adapter is dead, or dies of it.
    [[nodiscard]] fault_plan plan(fault_calls call, std::size_t items);
    void count_corrupted(std::size_t items);

    /// Waits for release(), or, unless it is deaf, for cancellation, which throws.
    asio::awaitable<void> hang(fault_plan::waiting how);
    asio::awaitable<void> sleep(nanoseconds duration);

private:
    struct armed_rule;
    struct waiter;
    class place_in_line;

    [[nodiscard]] terrace::clock::time_point now() const noexcept;
    void apply(armed_rule& rule, fault_plan& plan);
    [[noreturn]] void refuse() const;

    const std::uint64_t seed_;
    const std::shared_ptr<terrace::clock> clock_; // null: the machine's

    mutable std::mutex mutex_; // for what follows
    std::list<armed_rule> rules_;
    rule_id last_rule_ = 0;
    std::optional<boost::system::error_code> death_;
    std::list<std::shared_ptr<waiter>> line_; // what hangs
    fault_counts counts_;
};

} // namespace terrace
