// Many models on Azure, from an empty subscription: one lake, one vault, Databricks and/or Synapse, Data Factory, and
// Azure ML twice, for development and for production. `az deployment sub create -l LOCATION -f main.bicep -p @main.parameters.json`
targetScope = 'subscription'

@description('Where everything lies.')
param location string = deployment().location

@minLength(3)
@maxLength(11)
@description('Begins every name; lower case letters and digits.')
param prefix string

@allowed(['databricks', 'synapse', 'both'])
@description('Where Spark runs. Data Factory starts the job of either.')
param platform string = 'databricks'

@description('The Entra group whose members operate the jobs and write secrets into the vault.')
param operatorsObjectId string

@description('The name of that group; it becomes the administrator of the SQL pool.')
param operatorsName string

@description('The object id in your tenant of the application AzureDatabricks (az ad sp show --id 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d --query id). A secret scope reads the vault as that.')
param databricksObjectId string = ''

@description('Whether a dedicated SQL pool is made. Without it the serverless endpoint shows the lake as views.')
param dedicatedPool bool = false

@description('Whether AKS is made, with a registry of images, Postgres and identities for an MLflow server and the scoring server.')
param kubernetes bool = false

@description('Whether lake, vault, images and Postgres have addresses in a network of their own only, and Databricks and AKS run in it.')
param privateNetwork bool = false

@description('Who is mailed when a pipeline of Synapse, Data Factory or Azure ML fails.')
param alertMail string

@description('Tags of every resource.')
param tags object = { project: 'manymodels' }

var withDatabricks = platform != 'synapse'
var withSynapse = platform != 'databricks'

resource shared 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${prefix}-shared'
  location: location
  tags: tags
}

resource development 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${prefix}-dev'
  location: location
  tags: tags
}

resource production 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${prefix}-prod'
  location: location
  tags: tags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: shared
  params: {
    location: location
    prefix: prefix
    tags: tags
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: shared
  params: {
    location: location
    prefix: prefix
    tags: tags
  }
}

module lake 'modules/lake.bicep' = {
  name: 'lake'
  scope: shared
  params: {
    location: location
    name: take('${prefix}lake${uniqueString(shared.id)}', 24)
    privateNetwork: privateNetwork
    tags: tags
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: shared
  params: {
    location: location
    name: take('${prefix}-kv-${uniqueString(shared.id)}', 24)
    logsId: monitoring.outputs.logsId
    privateNetwork: privateNetwork
    tags: tags
  }
}

// Trains, scores and loads. It reads production and never writes there.
module trainer 'modules/identity.bicep' = {
  name: 'trainer'
  scope: development
  params: {
    location: location
    name: '${prefix}-trainer'
    tags: tags
  }
}

// Runs the production job and promotes: the only identity that writes into the production repository.
module promoter 'modules/identity.bicep' = {
  name: 'promoter'
  scope: production
  params: {
    location: location
    name: '${prefix}-promoter'
    tags: tags
  }
}

// Answers requests at the endpoint: it reads production's models, its image and one secret, and writes nothing.
module server 'modules/identity.bicep' = {
  name: 'server'
  scope: production
  params: {
    location: location
    name: '${prefix}-server'
    tags: tags
  }
}

// What the MLflow server is to Postgres and to the backups.
module mlflow 'modules/identity.bicep' = if (kubernetes) {
  name: 'mlflow'
  scope: production
  params: {
    location: location
    name: '${prefix}-mlflow'
    tags: tags
  }
}

module learningDevelopment 'modules/learning.bicep' = {
  name: 'learning'
  scope: development
  params: {
    location: location
    prefix: '${prefix}dev'
    logsId: monitoring.outputs.logsId
    identityId: trainer.outputs.id
    memberIds: [trainer.outputs.principalId, promoter.outputs.principalId]
    serverId: ''
    operatorsObjectId: operatorsObjectId
    tags: tags
  }
}

module learningProduction 'modules/learning.bicep' = {
  name: 'learning'
  scope: production
  params: {
    location: location
    prefix: '${prefix}prod'
    logsId: monitoring.outputs.logsId
    identityId: promoter.outputs.id
    memberIds: [promoter.outputs.principalId]
    serverId: server.outputs.principalId
    operatorsObjectId: ''
    tags: tags
  }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: production
  params: {
    location: location
    name: '${prefix}-registry'
    writerId: promoter.outputs.principalId
    tags: tags
  }
}

module databricks 'modules/databricks.bicep' = if (withDatabricks) {
  name: 'databricks'
  scope: shared
  params: {
    location: location
    prefix: prefix
    networkId: privateNetwork ? network!.outputs.id : ''
    tags: tags
  }
}

module synapse 'modules/synapse.bicep' = if (withSynapse) {
  name: 'synapse'
  scope: shared
  params: {
    location: location
    name: take('${prefix}-syn-${uniqueString(shared.id)}', 50)
    lakeUrl: lake.outputs.url
    administratorObjectId: operatorsObjectId
    administratorName: operatorsName
    dedicatedPool: dedicatedPool
    tags: tags
  }
}

module factory 'modules/factory.bicep' = {
  name: 'factory'
  scope: shared
  params: {
    location: location
    name: take('${prefix}-adf-${uniqueString(shared.id)}', 63)
    logsId: monitoring.outputs.logsId
    tags: tags
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: shared
  params: {
    prefix: prefix
    mail: alertMail
    factoryId: factory.outputs.id
    synapseId: withSynapse ? synapse!.outputs.id : ''
    learningIds: [learningDevelopment.outputs.id, learningProduction.outputs.id]
    tags: tags
  }
}

module postgres 'modules/postgres.bicep' = if (kubernetes) {
  name: 'postgres'
  scope: production
  params: {
    location: location
    name: take('${prefix}-pg-${uniqueString(production.id)}', 63)
    administratorObjectId: operatorsObjectId
    administratorName: operatorsName
    subnetId: privateNetwork ? network!.outputs.postgresId : ''
    zoneId: privateNetwork ? network!.outputs.postgresZoneId : ''
    tags: tags
  }
}

module cluster 'modules/cluster.bicep' = if (kubernetes) {
  name: 'cluster'
  scope: production
  params: {
    location: location
    prefix: prefix
    logsId: monitoring.outputs.logsId
    operatorsObjectId: operatorsObjectId
    identityId: kubernetes ? clusterIdentity!.outputs.id : ''
    serverName: server.outputs.name
    promoterName: promoter.outputs.name
    mlflowName: kubernetes ? mlflow!.outputs.name : ''
    subnetId: privateNetwork ? network!.outputs.clusterId : ''
    tags: tags
  }
  dependsOn: [clusterSubnet]
}

// Made before the cluster, whose nodes need the right on their subnet from the beginning.
module clusterIdentity 'modules/identity.bicep' = if (kubernetes) {
  name: 'cluster-identity'
  scope: production
  params: {
    location: location
    name: '${prefix}-aks'
    tags: tags
  }
}

module clusterSubnet 'modules/subnetRole.bicep' = if (kubernetes && privateNetwork) {
  name: 'cluster-subnet'
  scope: shared
  params: {
    networkName: privateNetwork ? network!.outputs.name : ''
    principalId: kubernetes ? clusterIdentity!.outputs.principalId : ''
  }
}

module lakeFiles 'modules/privateEndpoint.bicep' = if (privateNetwork) {
  name: 'lake-dfs'
  scope: shared
  params: {
    location: location
    name: '${prefix}-lake-dfs'
    subnetId: privateNetwork ? network!.outputs.endpointsId : ''
    targetId: lake.outputs.id
    group: 'dfs'
    zoneId: privateNetwork ? network!.outputs.dfsZoneId : ''
    tags: tags
  }
}

module lakeBlobs 'modules/privateEndpoint.bicep' = if (privateNetwork) {
  name: 'lake-blob'
  scope: shared
  params: {
    location: location
    name: '${prefix}-lake-blob'
    subnetId: privateNetwork ? network!.outputs.endpointsId : ''
    targetId: lake.outputs.id
    group: 'blob'
    zoneId: privateNetwork ? network!.outputs.blobZoneId : ''
    tags: tags
  }
}

module vaultAddress 'modules/privateEndpoint.bicep' = if (privateNetwork) {
  name: 'vault'
  scope: shared
  params: {
    location: location
    name: '${prefix}-vault'
    subnetId: privateNetwork ? network!.outputs.endpointsId : ''
    targetId: vault.outputs.id
    group: 'vault'
    zoneId: privateNetwork ? network!.outputs.vaultZoneId : ''
    tags: tags
  }
}

module imagesAddress 'modules/privateEndpoint.bicep' = if (privateNetwork && kubernetes) {
  name: 'images'
  scope: production
  params: {
    location: location
    name: '${prefix}-images'
    subnetId: privateNetwork ? network!.outputs.endpointsId : ''
    targetId: kubernetes ? cluster!.outputs.imagesId : ''
    group: 'registry'
    zoneId: privateNetwork ? network!.outputs.imagesZoneId : ''
    tags: tags
  }
}

module access 'access.bicep' = {
  name: 'access'
  scope: shared
  params: {
    lakeName: lake.outputs.name
    vaultName: vault.outputs.name
    trainerId: trainer.outputs.principalId
    promoterId: promoter.outputs.principalId
    factoryId: factory.outputs.principalId
    serverId: server.outputs.principalId
    databricksObjectId: withDatabricks ? databricksObjectId : ''
    databricksName: withDatabricks ? databricks!.outputs.name : ''
    connectorId: withDatabricks ? databricks!.outputs.principalId : ''
    synapseId: withSynapse ? synapse!.outputs.principalId : ''
    mlflowId: kubernetes ? mlflow!.outputs.principalId : ''
    ingressId: kubernetes ? cluster!.outputs.ingressPrincipalId : ''
    operatorsObjectId: operatorsObjectId
  }
}

output lakeUrl string = lake.outputs.url
output vaultUri string = vault.outputs.uri
output databricksUrl string = withDatabricks ? databricks!.outputs.url : ''
output connectorResourceId string = withDatabricks ? databricks!.outputs.connectorResourceId : ''
output synapseServer string = withSynapse ? synapse!.outputs.server : ''
output synapseServerless string = withSynapse ? synapse!.outputs.serverless : ''
output factoryName string = factory.outputs.name
output developmentWorkspace string = learningDevelopment.outputs.name
output productionWorkspace string = learningProduction.outputs.name
output registryName string = registry.outputs.name
output trainerClientId string = trainer.outputs.clientId
output promoterClientId string = promoter.outputs.clientId
output serverClientId string = server.outputs.clientId
output serverResourceId string = server.outputs.id
output clusterName string = kubernetes ? cluster!.outputs.name : ''
output imagesServer string = kubernetes ? cluster!.outputs.imagesServer : ''
output mlflowClientId string = kubernetes ? mlflow!.outputs.clientId : ''
output postgresHost string = kubernetes ? postgres!.outputs.host : ''
