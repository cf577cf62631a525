// The choice of light or dark holds before the first pixel; without one, the system's holds.
(() => {
  try {
    const theme = localStorage.getItem("tidemark-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch { /* storage is off */ }
})();
