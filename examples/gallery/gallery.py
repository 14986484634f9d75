# %% [markdown]
# One chart of every kind, with every library that is installed here, of data that comes with scikit-learn and matplotlib:
# Fisher's irises, wines of three growers, monthly prices of shares.

# %%
import pandas as pd
from matplotlib import cbook
from sklearn.datasets import load_iris, load_wine

iris = load_iris(as_frame=True)
flowers = iris.data.rename(columns=lambda name: name.removesuffix(" (cm)"))
flowers["species"] = iris.target_names[iris.target]
wine = load_wine(as_frame=True)
wines = wine.data[["alcohol", "color_intensity"]].assign(grower=[f"grower {n + 1}" for n in wine.target])
with cbook.get_sample_data("Stocks.csv") as file:
    shares = pd.read_csv(file, comment="#", parse_dates=["Date"]).set_index("Date")[["IBM", "AAPL", "MSFT"]].loc["1990":]
alcohol = wines.groupby("grower").alcohol.mean()
bottles = wines.grower.value_counts(sort=False)
flowers.groupby("species").mean()

# %% [markdown] tags=["matplotlib"]
# ## matplotlib

# %% Lines tags=["matplotlib"]
import matplotlib.pyplot as plt

for name in shares:
    plt.plot(shares.index, shares[name], label=name)
plt.title("Shares")
plt.xlabel("year")
plt.ylabel("price ($)")
plt.yscale("log")
plt.legend()
plt.show()

# %% Points tags=["matplotlib"]
for species, group in flowers.groupby("species"):
    plt.scatter(group["petal length"], group["petal width"], label=species)
plt.title("Irises")
plt.xlabel("petal length (cm)")
plt.ylabel("petal width (cm)")
plt.legend()
plt.show()

# %% Bars tags=["matplotlib"]
plt.bar(alcohol.index, alcohol)
plt.title("Alcohol of wines")
plt.ylabel("alcohol (%)")
plt.show()

# %% A pie tags=["matplotlib"]
plt.pie(bottles, labels=bottles.index, autopct="%.0f%%")
plt.title("Bottles")
plt.show()

# %% Boxes tags=["matplotlib"]
groups = dict(list(flowers.groupby("species")["sepal length"]))
plt.boxplot(list(groups.values()), patch_artist=True)
plt.xticks(range(1, len(groups) + 1), groups.keys())
plt.title("Sepals")
plt.ylabel("length (cm)")
plt.show()

# %% Several in one tags=["matplotlib"]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
left.plot(shares.MSFT["2010":])
left.set_title("Microsoft")
right.scatter(wines.alcohol, wines.color_intensity)
right.set_title("Wines")
right.set_xlabel("alcohol (%)")
right.set_ylabel("colour")
plt.show()

# %% [markdown] tags=["pandas"]
# ## pandas

# %% Lines tags=["pandas"]
shares.plot(title="Shares", ylabel="price ($)")
plt.show()

# %% Points tags=["pandas"]
flowers.plot.scatter("petal length", "petal width", title="Irises")
plt.show()

# %% Bars tags=["pandas"]
flowers.groupby("species").mean().plot.bar(title="Irises", ylabel="mean (cm)", rot=0)
plt.show()

# %% A pie tags=["pandas"]
bottles.plot.pie(title="Bottles", ylabel="")
plt.show()

# %% Boxes tags=["pandas"]
flowers.plot.box(title="Irises", ylabel="length (cm)", patch_artist=True)
plt.show()

# %% Several in one tags=["pandas"]
shares.plot(subplots=True, title="Shares")
plt.show()

# %% [markdown] tags=["seaborn"]
# ## seaborn

# %% Lines tags=["seaborn"]
import seaborn as sns

sns.lineplot(shares).set(title="Shares", ylabel="price ($)")
plt.show()

# %% Points tags=["seaborn"]
sns.scatterplot(flowers, x="petal length", y="petal width", hue="species").set_title("Irises")
plt.show()

# %% Bars tags=["seaborn"]
wines["strong"] = (wines.alcohol > 13).map({True: "over 13 %", False: "up to 13 %"})
sns.barplot(wines, x="grower", y="color_intensity", hue="strong", capsize=0.2).set_title("Colour of wines")
plt.show()

# %% Boxes tags=["seaborn"]
sns.boxplot(flowers, x="species", y="sepal length").set_title("Sepals")
plt.show()

# %% Several in one tags=["seaborn"]
sns.relplot(flowers, x="petal length", y="petal width", col="species", height=3)
plt.show()

# %% [markdown] tags=["plotly"]
# ## plotly

# %% Lines tags=["plotly"]
import plotly.express as px

px.line(shares, title="Shares", labels={"value": "price ($)"})

# %% Points tags=["plotly"]
px.scatter(flowers, x="petal length", y="petal width", color="species", title="Irises")

# %% Bars tags=["plotly"]
px.bar(x=alcohol.index, y=alcohol, title="Alcohol of wines", labels={"x": "grower", "y": "alcohol (%)"})

# %% A pie tags=["plotly"]
px.pie(names=bottles.index, values=bottles, title="Bottles")

# %% Boxes tags=["plotly"]
px.box(flowers, x="species", y="sepal length", title="Sepals")

# %% A histogram tags=["plotly"]
px.histogram(wines, x="alcohol", color="grower", title="Alcohol of wines")

# %% Several in one tags=["plotly"]
px.scatter(flowers, x="petal length", y="petal width", facet_col="species", title="Irises")

# %% [markdown] tags=["altair"]
# ## altair

# %% Lines tags=["altair"]
import altair as alt

long = shares.reset_index().melt("Date", var_name="share", value_name="price")
alt.Chart(long, title="Shares").mark_line().encode(x="Date:T", y="price:Q", color="share:N")

# %% Points tags=["altair"]
alt.Chart(flowers, title="Irises").mark_point().encode(x="petal length:Q", y="petal width:Q", color="species:N")

# %% Bars tags=["altair"]
alt.Chart(alcohol.reset_index(), title="Alcohol of wines").mark_bar().encode(x="grower:N", y="alcohol:Q")

# %% A pie tags=["altair"]
alt.Chart(bottles.reset_index(), title="Bottles").mark_arc().encode(theta="count:Q", color="grower:N")

# %% Boxes tags=["altair"]
alt.Chart(flowers, title="Sepals").mark_boxplot().encode(x="species:N", y="sepal length:Q").properties(width=300)

# %% A histogram tags=["altair"]
alt.Chart(wines, title="Alcohol of wines").mark_bar().encode(x=alt.X("alcohol:Q", bin=True), y="count()")

# %% Several in one tags=["altair"]
points = alt.Chart(flowers, title="Irises").mark_point().encode(x="petal length:Q", y="petal width:Q", color="species:N")
bars = alt.Chart(alcohol.reset_index(), title="Wines").mark_bar().encode(x="grower:N", y="alcohol:Q")
alt.hconcat(points, bars, title="Both")

# %% [markdown] tags=["bokeh"]
# ## bokeh

# %% Lines tags=["bokeh"]
from bokeh.plotting import figure as bokeh_figure

chart = bokeh_figure(title="Shares", x_axis_type="datetime", height=350, y_axis_label="price ($)")
for name, color in zip(shares, ["#4269d0", "#efb118", "#ff725c"], strict=True):
    chart.line(shares.index, shares[name], legend_label=name, color=color)
chart

# %% Points tags=["bokeh"]
chart = bokeh_figure(title="Irises", height=350, x_axis_label="petal length (cm)", y_axis_label="petal width (cm)")
chart.scatter(flowers["petal length"], flowers["petal width"])
chart

# %% Bars tags=["bokeh"]
chart = bokeh_figure(title="Alcohol of wines", x_range=list(alcohol.index), height=350, y_axis_label="alcohol (%)")
chart.vbar(x=list(alcohol.index), top=list(alcohol), width=0.8)
chart

# %% A pie tags=["bokeh"]
from math import tau

turns = (bottles.cumsum() / bottles.sum() * tau).tolist()
slices = {
    "grower": list(bottles.index),
    "start": [0, *turns[:-1]],
    "end": turns,
    "color": ["#4269d0", "#efb118", "#ff725c"],
}
chart = bokeh_figure(title="Bottles", height=350, width=440, x_range=(-1, 1.5), y_range=(-1, 1))
chart.wedge(x=0, y=0, radius=0.8, start_angle="start", end_angle="end", color="color", legend_field="grower", source=slices)
chart

# %% Boxes tags=["bokeh"]
lengths = flowers.groupby("species")["sepal length"].describe()
chart = bokeh_figure(title="Sepals", x_range=list(lengths.index), height=350, y_axis_label="length (cm)")
chart.segment(lengths.index, lengths["min"], lengths.index, lengths["max"])
chart.vbar(x=lengths.index, width=0.5, bottom=lengths["25%"], top=lengths["50%"], line_color="black")
chart.vbar(x=lengths.index, width=0.5, bottom=lengths["50%"], top=lengths["75%"], line_color="black")
chart

# %% Several in one tags=["bokeh"]
from bokeh.layouts import row

parts = []
for name in ("IBM", "MSFT"):
    part = bokeh_figure(title=name, x_axis_type="datetime", height=250, width=350)
    part.line(shares.index, shares[name])
    parts.append(part)
row(*parts)
