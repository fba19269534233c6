#include "support/prometheus_page.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fmt/format.h>
#include <set>
#include <stdexcept>

namespace terrace::test {
namespace {

/// Takes a line of the page apart, from its beginning.
class line_reader {
public:
    explicit line_reader(std::string_view line) : line_{line}, rest_{line} {}

    [[noreturn]] void fail(std::string_view what) const
    {
        throw std::runtime_error(fmt::format("{} in the line {:?}", what, line_));
    }

    bool take(std::string_view token)
    {
        if (!rest_.starts_with(token))
            return false;
        rest_.remove_prefix(token.size());
        return true;
    }
    void expect(std::string_view token)
    {
        if (!take(token))
            fail(fmt::format("no {:?} before {:?}", token, rest_));
    }

    std::string name()
    {
        const auto in_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
        const auto end = std::ranges::find_if_not(rest_, in_name);
        const auto length = static_cast<std::size_t>(end - rest_.begin());
        if (length == 0 || std::isdigit(static_cast<unsigned char>(rest_.front())) != 0)
            fail("no name");
        std::string taken{rest_.substr(0, length)};
        rest_.remove_prefix(length);
        return taken;
    }

    std::string quoted()
    {
        expect("\"");
        std::string value;
        while (!take("\"")) {
            if (rest_.empty())
                fail("no closing quote");
            if (take("\\n"))
                value += '\n';
            else if (take("\\\""))
                value += '"';
            else if (take("\\\\"))
                value += '\\';
            else if (rest_.front() == '\\')
                fail("an unknown escape");
            else {
                value += rest_.front();
                rest_.remove_prefix(1);
            }
        }
        return value;
    }

    double number()
    {
        double value = 0;
        const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
        if (error != std::errc{} || end != rest_.data() + rest_.size())
            fail("no number at the end");
        return value;
    }

    std::string rest() const { return std::string{rest_}; }

private:
    std::string_view line_;
    std::string_view rest_;
};

prometheus_page::sample parse_sample(std::string_view line)
{
    line_reader reader{line};
    prometheus_page::sample sample;
    sample.name = reader.name();
    if (reader.take("{")) {
        do {
            const std::string label = reader.name();
            reader.expect("=");
            if (!sample.labels.emplace(label, reader.quoted()).second)
                reader.fail("a label stands twice");
        } while (reader.take(","));
        reader.expect("}");
    }
    reader.expect(" ");
    sample.value = reader.number();
    return sample;
}

bool belongs(const std::string& sample, const prometheus_page::family& family)
{
    if (family.type != "histogram")
        return sample == family.name;
    return sample == family.name + "_bucket" || sample == family.name + "_sum" || sample == family.name + "_count";
}

} // namespace

prometheus_page prometheus_page::parse(std::string_view text)
{
    prometheus_page page;
    std::set<std::string> names;
    std::set<std::pair<std::string, std::map<std::string, std::string>>> seen;
    bool typed = true; // the latest family has its TYPE
    while (!text.empty()) {
        const auto end = text.find('\n');
        if (end == std::string_view::npos)
            throw std::runtime_error("the last line does not end");
        const auto line = text.substr(0, end);
        text.remove_prefix(end + 1);
        line_reader reader{line};
        if (reader.take("# HELP ")) {
            family next;
            next.name = reader.name();
            reader.expect(" ");
            next.help = reader.rest();
            if (!typed || !names.insert(next.name).second)
                reader.fail("a family before its turn");
            page.families.push_back(next);
            typed = false;
        } else if (reader.take("# TYPE ")) {
            if (typed || reader.name() != page.families.back().name)
                reader.fail("a TYPE without its HELP");
            reader.expect(" ");
            page.families.back().type = reader.rest();
            typed = true;
        } else {
            sample one = parse_sample(line);
            if (page.families.empty() || !typed || !belongs(one.name, page.families.back()))
                reader.fail("a sample outside its family");
            if (!seen.emplace(one.name, one.labels).second)
                reader.fail("a sample twice");
            page.families.back().samples.push_back(std::move(one));
        }
    }
    return page;
}

const prometheus_page::family* prometheus_page::find(std::string_view name) const
{
    const auto found = std::ranges::find(families, name, &family::name);
    return found == families.end() ? nullptr : &*found;
}

double prometheus_page::value(std::string_view name, const std::map<std::string, std::string>& labels) const
{
    std::vector<double> found;
    for (const family& f : families)
        for (const sample& s : f.samples)
            if (s.name == name && std::ranges::includes(s.labels, labels))
                found.push_back(s.value);
    if (found.size() != 1)
        throw std::runtime_error(fmt::format("{} samples of {} have these labels", found.size(), name));
    return found.front();
}

} // namespace terrace::test
