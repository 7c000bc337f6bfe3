document.documentElement.classList.add("script");
for (const range of document.querySelectorAll(".compare input")) {
  range.addEventListener("input", () => range.parentElement.style.setProperty("--at", range.value + "%"));
}
