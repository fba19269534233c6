#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace terrace::bench {

/// The smallest, the middle and the largest of the values that the runs gave.
struct spread {
    double min = 0;
    double median = 0;
    double max = 0;

    /// Of at least one value.
    [[nodiscard]] static spread of(std::span<const double> values);
};

/// Which of two values of a row is the better one.
enum class better : std::uint8_t { lower, higher };

/// What a row is to reach.
class target {
public:
    [[nodiscard]] static target at_most(double limit) { return {kind::at_most, limit}; }
    [[nodiscard]] static target at_least(double limit) { return {kind::at_least, limit}; }
    [[nodiscard]] static target exactly(double value) { return {kind::exactly, value}; }
    /// row::ratio, which says how near the value is to the ceiling.
    [[nodiscard]] static target ratio_of_at_least(double limit) { return {kind::ratio, limit}; }
    /// The ceiling's median and so much more.
    [[nodiscard]] static target above_ceiling_at_most(double limit) { return {kind::above_ceiling, limit}; }

    [[nodiscard]] bool met(const struct row& row) const;
    /// As "<= 40 ns/key" or ">= 0.95 x ceiling".
    [[nodiscard]] std::string to_string(const struct row& row) const;

private:
    enum class kind : std::uint8_t { at_most, at_least, exactly, ratio, above_ceiling };
    target(kind what, double limit) : kind_{what}, limit_{limit} {}

    kind kind_;
    double limit_;
};

/// One thing that is measured. A workload describes it, the runner fills in the figures, the reports only read.
struct row {
    std::string workload;                                        ///< the subcommand that measures it
    std::string name;                                            ///< what is measured
    std::vector<std::pair<std::string, std::string>> parameters; ///< name and value
    std::string unit;                                            ///< of value and ceiling
    bench::better better = bench::better::lower;
    std::string ceiling_name = {}; ///< what no engine could beat; empty: there is none
    std::string cpu_unit = {};     ///< empty: the processor's time is not measured
    std::vector<target> targets = {};

    // What the runs gave.
    std::size_t runs = 0;
    spread value = {};
    std::optional<spread> ceiling = {};
    /// How near the value is to the ceiling: 1 is there. The median over the runs, each with the ceiling measured
    /// right after it.
    std::optional<double> ratio = {};
    std::optional<double> cpu = {}; ///< the median
    std::uint64_t peak_rss_bytes = 0;
    /// Share and value: so many of all samples took no longer. Empty: the row has no samples.
    std::vector<std::pair<double, double>> distribution = {};

    [[nodiscard]] bool targets_met() const;
    /// As "<= 40 ns/key"; "" if there is none.
    [[nodiscard]] std::string targets_text() const;
    /// The value of a parameter, "" if there is none of that name.
    [[nodiscard]] std::string parameter(const std::string& key) const;
    /// "batch 256, 1 thread".
    [[nodiscard]] std::string parameters_text() const;
};

/// What one run says about one row.
struct reading {
    static constexpr double none = std::numeric_limits<double>::quiet_NaN();

    double value = none;
    double cpu = none;
    std::vector<double> samples = {}; ///< in the row's unit, where single operations were timed
};

/// "1.23", "45.6", "789", "12,345": three digits at least, and no more than help.
[[nodiscard]] std::string number_text(double value);

} // namespace terrace::bench
