#include <terrace/metrics.hpp>

#include "metric_families.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <prometheus/check_names.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sstream>
#include <stdexcept>

namespace terrace {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using label_list = std::vector<ClientMetric::Label>;

// Of an adapter's samples.
constexpr std::string_view id_label = "id";
constexpr std::string_view name_label = "adapter";

bool is_ours(std::string_view label)
{
    const auto uses = [label](const auto& family) { return family.about.label == label; };
    return label == "le" || label == id_label || label == name_label ||
           std::ranges::any_of(metrics::engine_families(), uses) ||
           std::ranges::any_of(metrics::adapter_families(), uses);
}

label_list checked(const metric_labels& constant)
{
    label_list list;
    for (const auto& [name, value] : constant) {
        if (!prometheus::CheckLabelName(name))
            throw std::invalid_argument(
                fmt::format("metric label {:?}: expected letters, digits and underscores, no digit first", name));
        if (is_ours(name))
            throw std::invalid_argument(fmt::format("metric label {:?}: expected none of Terrace's own labels", name));
        list.push_back({name, value});
    }
    return list;
}

/// An adapter's name may come from anywhere; the format is UTF-8.
std::string as_utf8(std::string_view text)
{
    using json = nlohmann::json;
    return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

std::string_view name_of(metrics::kind type)
{
    constexpr std::array<std::string_view, 3> names{"gauge", "counter", "histogram"};
    return names[static_cast<std::size_t>(type)];
}

MetricType type_of(metrics::kind type)
{
    constexpr std::array types{MetricType::Gauge, MetricType::Counter, MetricType::Histogram};
    return types[static_cast<std::size_t>(type)];
}

/// Buckets hold what is below them, too.
ClientMetric::Histogram to_histogram(const latency_histogram& latency)
{
    ClientMetric::Histogram h;
    h.sample_sum = static_cast<double>(latency.sum_ns) / 1e9;
    for (std::size_t i = 0; i < latency.counts.size(); ++i) {
        h.sample_count += latency.counts[i];
        double bound = std::numeric_limits<double>::infinity();
        if (i < latency_histogram::bounds.size())
            bound = static_cast<double>(latency_histogram::bounds[i].count()) / 1e9;
        h.bucket.push_back({h.sample_count, bound});
    }
    return h;
}

MetricFamily empty_family(const metrics::description& about)
{
    MetricFamily family;
    family.name = about.name;
    family.help = about.meaning;
    family.type = type_of(about.type);
    return family;
}

/// Adds the samples that one source, the engine or an adapter, has for a family.
void add_samples(MetricFamily& family, const auto& described, const auto& source, const label_list& labels)
{
    const auto add = [&](std::string_view label_value) -> ClientMetric& {
        ClientMetric& metric = family.metric.emplace_back();
        metric.label = labels;
        if (!described.about.label.empty())
            metric.label.push_back({std::string{described.about.label}, std::string{label_value}});
        return metric;
    };
    for (const auto& sample : described.samples) {
        ClientMetric& metric = add(sample.label_value);
        (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = sample.value(source);
    }
    for (const auto& one : described.histograms)
        add(one.label_value).histogram = to_histogram(one.value(source));
}

label_list labels_of(const adapter_entry& adapter, label_list constant)
{
    constant.push_back({std::string{id_label}, fmt::format("{}", static_cast<std::uint32_t>(adapter.id))});
    constant.push_back({std::string{name_label}, as_utf8(adapter.self.name)});
    return constant;
}

metric_family to_public(const metrics::description& about, std::vector<std::string> labels)
{
    if (!about.label.empty())
        labels.emplace_back(about.label);
    return {std::string{about.name}, std::string{name_of(about.type)}, std::string{about.unit}, std::move(labels),
            std::string{about.meaning}};
}

} // namespace

std::string prometheus_text(const engine_status& status, const metric_labels& constant)
{
    const label_list shared = checked(constant);
    std::vector<MetricFamily> families;
    for (const auto& described : metrics::engine_families())
        add_samples(families.emplace_back(empty_family(described.about)), described, status, shared);
    for (const auto& described : metrics::adapter_families()) {
        MetricFamily& family = families.emplace_back(empty_family(described.about));
        for (const adapter_entry& adapter : status.adapters)
            add_samples(family, described, adapter, labels_of(adapter, shared));
    }
    std::ostringstream text;
    prometheus::TextSerializer{}.Serialize(text, families);
    return std::move(text).str();
}

std::vector<metric_family> metric_families()
{
    std::vector<metric_family> all;
    for (const auto& described : metrics::engine_families())
        all.push_back(to_public(described.about, {}));
    for (const auto& described : metrics::adapter_families())
        all.push_back(to_public(described.about, {std::string{id_label}, std::string{name_label}}));
    return all;
}

} // namespace terrace
