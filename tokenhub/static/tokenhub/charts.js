// Unfold's charts, with axes that can be read by day and by night, and shares that end at 100 %.
{
	const { x, y } = DEFAULT_CHART_OPTIONS.scales;
	const colour = () => getComputedStyle(document.documentElement).getPropertyValue("--th-muted");
	x.ticks.color = colour;
	y.ticks.color = colour;
	y.ticks.maxTicksLimit = 6;
	y.afterDataLimits = (axis) => {
		if (axis.chart.data.datasets.some((line) => line.suffixYAxis === "%")) {
			axis.max = Math.min(axis.max, 100);
			axis.min = Math.max(axis.min, 0);
		}
	};
}
