//! What the figures were measured on.

/// Kernel, processors and memory, as Linux tells them.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let information = read("/proc/cpuinfo");
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let kibibytes = memory.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let model = model.map_or("unknown processor", |(_, model)| model);
    format!("Linux {kernel}, {processors} x {model}, {} GiB", kibibytes / (1024 * 1024))
}
